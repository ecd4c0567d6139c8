"""Which prompts are measured and which are learnt from: none is both, in whatever wording."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import count
from random import Random
from typing import Any

from examples.grpo_shapeworld.edits import CLUMSY_EDITS, EDITS
from examples.grpo_shapeworld.pictures import PICTURES
from examples.grpo_shapeworld.task import Ask, Asked, Task

TASKS = {task.name: task for task in (PICTURES, EDITS, CLUMSY_EDITS)}
MEASURED = 200
_WARM_SEED, _GRPO_SEED, _MEASURED_SEED = 1_000, 2_000, 3_000


def measured(task: Task) -> list[Asked]:
    """`MEASURED` prompts of different wishes, always the same."""
    return list(_measured(task.ask).values())


def warm_examples(task: Task) -> Iterator[tuple[str, str]]:
    """Prompts and texts for them that the warm start learns, without end."""
    for number, asked in _learnt(task, _WARM_SEED):
        yield asked.text, task.example(asked, Random(f"grpo example {number}"))


def grpo_prompts(task: Task, seed: int) -> Iterator[Asked]:
    """Prompts that GRPO goes by, without end: others for each seed."""
    return (asked for _, asked in _learnt(task, _GRPO_SEED + seed))


def _learnt(task: Task, seed: int) -> Iterator[tuple[int, Asked]]:
    kept = _measured(task.ask).keys()
    for number in count():
        asked = task.ask(_dice(seed, number))
        if asked.wish not in kept:
            yield number, asked


@cache
def _measured(ask: Ask) -> dict[Any, Asked]:
    """Prompts by their wishes."""
    found: dict[Any, Asked] = {}
    for number in count():
        asked = ask(_dice(_MEASURED_SEED, number))
        found.setdefault(asked.wish, asked)
        if len(found) == MEASURED:
            return found


def _dice(seed: int, number: int) -> Random:
    return Random(f"grpo {seed} {number}")
