"""Batches of a training, drawn ahead by processes beside it."""

# The imports below live in the server's environment, where this runs.
# pyright: reportMissingImports=false
from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from random import Random
from threading import Thread
from typing import Any

from foundry.shapeworld.judge_batches import batches_of
from foundry.shapeworld.judge_plan import POOL_BATCHES, Plan
from foundry.shapeworld.mixture import lessons_of_groups
from prompts import load_prompt, prompt_ids

# Each holds torch and a pool or two, and so many draw more than is trained on.
_MOST_PROCESSES = 14


def batch_stream(plan: Plan, processor: Any, *, first_step: int) -> Iterator[Any]:
    """Batches from a step on, made ahead by processes beside this one: one on two cores."""
    pools = range(first_step // POOL_BATCHES, plan.steps // POOL_BATCHES)
    # Two cores are left for the training itself, where there are more.
    processes = min(_MOST_PROCESSES, max(1, (os.cpu_count() or 1) - 2))
    ahead = processes + 1
    with ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_begin_beside
    ) as beside:
        waiting = deque(beside.submit(_make_pool, plan, processor, pool) for pool in pools[:ahead])
        try:
            for pool in pools:
                if pool + ahead in pools:
                    waiting.append(beside.submit(_make_pool, plan, processor, pool + ahead))
                batches = waiting.popleft().result()
                for inputs, *wanted in batches[max(0, first_step - pool * POOL_BATCHES) :]:
                    yield (
                        {name: _tensor(value) for name, value in inputs.items()},
                        *map(_tensor, wanted),
                    )
        finally:
            beside.shutdown(wait=False, cancel_futures=True)


def _make_pool(plan: Plan, processor: Any, pool: int) -> list[Any]:
    size = POOL_BATCHES * plan.batch
    phase = plan.phase(pool * POOL_BATCHES)
    lessons = lessons_of_groups(plan.seed, pool * size, phase=phase, size=size)[:size]
    dice = Random(f"batches-{plan.seed}-{pool}")
    batches = batches_of(lessons, processor, count=POOL_BATCHES, dice=dice)
    return [
        ({name: _array(value) for name, value in inputs.items()}, *map(_array, wanted))
        for inputs, *wanted in batches
    ]


def _array(value: Any) -> Any:
    """A tensor as an array, to be sent as bytes and not through shared memory, of which there may
    be little; pictures in half precision, which holds their 256 levels apart.
    """
    return (value.half() if value.is_floating_point() else value).numpy()


def _tensor(value: Any) -> Any:
    import torch

    tensor = torch.from_numpy(value)
    return tensor.float() if tensor.is_floating_point() else tensor


def _begin_beside() -> None:
    """What a process beside does first: one thread, all prompts read, an end with its parent."""
    import torch

    torch.set_num_threads(1)
    for prompt_id in prompt_ids():
        load_prompt(prompt_id)
    Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
