"""Training the bundled judge: one loop over lessons, resumable anywhere.

The lessons of a step follow from the seed and the step's number alone, and nothing in the network
draws at random, so a run that was broken off goes on as if it had not been.
"""

# The imports below live in the server's environment, where this runs.
# pyright: reportMissingImports=false
from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

from foundry.shapeworld.judge_batches import batches_of, reply_loss
from foundry.shapeworld.judge_card import model_card
from foundry.shapeworld.judge_evaluation import (
    FIRST_SEED_TO_MEASURE,
    Found,
    evaluate,
    one_line,
)
from foundry.shapeworld.judge_model import SMALL, Size, count_parameters, new_model, new_processor
from foundry.shapeworld.judge_tokenizer import conversation, train_tokenizer
from foundry.shapeworld.lessons import Lesson, Phase, lessons_of_groups
from pipelines.version import git_commit
from prompts import load_prompt, prompt_ids

Say = Callable[[str], None]


class AnotherRun(Exception):
    """A folder that holds a run of another plan, or of other lessons."""


# Lessons are drawn ahead by so many batches, to batch them by length.
POOL_BATCHES = 16
VOCABULARY = 1536
_SAMPLE_LESSONS = 4096
_SAY_EVERY = 20
_SAVE_EVERY = 100
_CHECKPOINT = "checkpoint.pt"
_CURVE = "curve.jsonl"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training run.

    `look_steps` of captions, `base_steps` without any score, then `judge_steps` with all
    kinds of lessons, of `batch` lessons each; both multiples of POOL_BATCHES. The learning rate
    rises over `warmup` steps and falls as a cosine over the whole run.
    """

    seed: int = 1
    look_steps: int = 272
    base_steps: int = 752
    judge_steps: int = 2368
    batch: int = 64
    learning_rate: float = 1e-3
    warmup: int = 60
    weight_decay: float = 0.05
    evaluations: int = 8
    evaluation_groups: int = 40
    size: Size = SMALL

    def __post_init__(self) -> None:
        if any(n % POOL_BATCHES for n in (self.look_steps, self.base_steps, self.judge_steps)):
            raise ValueError(f"steps must be multiples of {POOL_BATCHES}")
        if not 0 <= self.seed < FIRST_SEED_TO_MEASURE:
            raise ValueError(f"seeds from {FIRST_SEED_TO_MEASURE} on are for measuring")

    @property
    def steps(self) -> int:
        """All steps."""
        return self.base_end + self.judge_steps

    @property
    def base_end(self) -> int:
        """Steps after which scores are shown."""
        return self.look_steps + self.base_steps

    def phase(self, step: int) -> Phase:
        """What is taught in a step, counted from 0."""
        return "look" if step < self.look_steps else "base" if step < self.base_end else "judge"

    @property
    def evaluated(self) -> frozenset[int]:
        """After which steps the model is measured: evenly, and at the end of either part."""
        every = max(1, self.steps // self.evaluations)
        return frozenset((*range(every, self.steps, every), self.base_end, self.steps))


def train(folder: Path, plan: Plan, say: Say, *, command: str) -> None:
    """Train and write `folder/base` and `folder/judge`, going on from a checkpoint if there is one.

    `folder/curve.jsonl` gets a line an evaluation; `command` goes into the model cards. Raises
    AnotherRun when the folder holds a run of another plan, or of other lessons.
    """
    # Threads that spin while they wait would fight the process that draws the lessons.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    sample = lessons_of_groups(plan.seed, -1 - _SAMPLE_LESSONS, phase="judge", size=_SAMPLE_LESSONS)
    _keep_plan(folder, plan, sample)
    processor = _new_processor(sample)
    model = new_model(processor.tokenizer, plan.size)
    # Half again as fast for short rows on a CPU as the fused kernel, whose backward pass is slow.
    model.set_attn_implementation({"text_config": "eager", "vision_config": "sdpa"})
    # On a GPU where there is one.
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
    )
    step, before_s, loss = _restore(folder, model, optimizer)
    say(f"{count_parameters(model) / 1e6:.2f} M parameters, {len(processor.tokenizer)} tokens")
    say(f"steps {step + 1} to {plan.steps}, {plan.batch} lessons each; curve: {folder / _CURVE}")
    began, first = time.monotonic(), step
    model.train()
    for inputs, labels in _stream(plan, processor, first_step=step):
        now = _learn(model, optimizer, inputs, labels, rate=learning_rate(plan, step))
        loss = 0.98 * loss + 0.02 * now if loss else now
        step += 1
        took_s = time.monotonic() - began
        if step % _SAY_EVERY == 0:
            left = took_s / (step - first) * (plan.steps - step) / 60
            speed = (step - first) * plan.batch / took_s
            say(
                f"step {step} of {plan.steps}  loss {loss:.3f}  {speed:.0f} lessons/s  "
                f"{left:.0f} min left"
            )
        if step in plan.evaluated:
            found = evaluate(
                model, processor, groups=plan.evaluation_groups, phase=plan.phase(step - 1)
            )
            say(one_line(found))
            minutes = (before_s + time.monotonic() - began) / 60
            _add_to_curve(folder, plan, step, minutes, loss, found)
        if step in (plan.base_end, plan.steps):
            name = "judge" if step == plan.steps else "base"
            _write_model(folder, name, model, processor, plan, command=command)
        if step % _SAVE_EVERY == 0 or step in plan.evaluated:
            _save(folder, model, optimizer, step, before_s + time.monotonic() - began, loss)


def _learn(model: Any, optimizer: Any, inputs: Any, labels: Any, *, rate: float) -> float:
    """One step of the optimizer. Returns the loss before it."""
    import torch

    for group in optimizer.param_groups:
        group["lr"] = rate
    inputs = {name: value.to(model.device) for name, value in inputs.items()}
    with torch.autocast(model.device.type, torch.bfloat16):
        loss = reply_loss(model, inputs, labels.to(model.device))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def _add_to_curve(
    folder: Path, plan: Plan, step: int, minutes: float, loss: float, found: Found
) -> None:
    entry = {
        "step": step,
        "lessons": step * plan.batch,
        "minutes": round(minutes, 1),
        "loss": round(loss, 4),
        "found": found,
    }
    with open(folder / _CURVE, "a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def learning_rate(plan: Plan, step: int) -> float:
    """The rate of a step, counted from 0: a linear rise, then half a cosine to a twentieth."""
    if step < plan.warmup:
        return plan.learning_rate * (step + 1) / plan.warmup
    progress = (step - plan.warmup) / max(1, plan.steps - plan.warmup)
    return plan.learning_rate * (0.05 + 0.95 * (1 + math.cos(math.pi * progress)) / 2)


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """The evaluations of a run, in order of their steps; of two of one step the later counts."""
    entries = {}
    for line in (folder / _CURVE).read_text("utf-8").splitlines():
        # A run that was killed while it wrote leaves half a line, and does that step again.
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            entries[entry["step"]] = entry
    return [entries[step] for step in sorted(entries)]


def _new_processor(sample: Sequence[Lesson]) -> Any:
    """The processor with a tokenizer that knows the words of the lessons."""
    tokenizer = train_tokenizer(
        [
            conversation(lesson.text, pictures=len(lesson.pictures), system=lesson.system)
            for lesson in sample
        ],
        [lesson.reply for lesson in sample],
        VOCABULARY,
    )
    return new_processor(tokenizer)


def _stream(plan: Plan, processor: Any, *, first_step: int) -> Iterator[Any]:
    """Batches from a step on, made ahead by a process beside this one."""
    pools = range(first_step // POOL_BATCHES, plan.steps // POOL_BATCHES)
    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=_begin_beside
    ) as beside:
        waiting = deque(beside.submit(_make_pool, plan, processor, pool) for pool in pools[:2])
        try:
            for pool in pools:
                if pool + 2 in pools:
                    waiting.append(beside.submit(_make_pool, plan, processor, pool + 2))
                batches = waiting.popleft().result()
                for inputs, labels in batches[max(0, first_step - pool * POOL_BATCHES) :]:
                    yield {name: _tensor(value) for name, value in inputs.items()}, _tensor(labels)
        finally:
            beside.shutdown(wait=False, cancel_futures=True)


def _make_pool(plan: Plan, processor: Any, pool: int) -> list[Any]:
    size = POOL_BATCHES * plan.batch
    phase = plan.phase(pool * POOL_BATCHES)
    lessons = lessons_of_groups(plan.seed, pool * size, phase=phase, size=size)[:size]
    dice = Random(f"batches-{plan.seed}-{pool}")
    batches = batches_of(lessons, processor, size=plan.batch, dice=dice)
    return [
        ({name: _array(value) for name, value in inputs.items()}, _array(labels))
        for inputs, labels in batches
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
    """What the process beside does first: one thread, all prompts read, an end with its parent."""
    import torch

    torch.set_num_threads(1)
    for prompt_id in prompt_ids():
        load_prompt(prompt_id)
    Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _keep_plan(folder: Path, plan: Plan, sample: Sequence[Lesson]) -> None:
    """Write down the plan and a digest of what is taught, or check that the folder's are those."""
    taught = sha256()
    for lesson in sample:
        taught.update("\0".join((lesson.kind, lesson.text, lesson.reply)).encode())
    for picture in sample[0].pictures:
        taught.update(picture.tobytes())
    facts = asdict(plan) | {"lessons_sha256": taught.hexdigest()}
    path, text = folder / "plan.json", json.dumps(facts, indent=1) + "\n"
    if path.exists() and path.read_text("utf-8") != text:
        raise AnotherRun(
            f"{path} is of another run, or prompts, schemas or the world have changed since; "
            "take another folder, or remove this one"
        )
    path.write_text(text, "utf-8")


def _restore(folder: Path, model: Any, optimizer: Any) -> tuple[int, float, float]:
    """Steps done, seconds they took and the running loss, with the state of then put in place."""
    import torch

    path = folder / _CHECKPOINT
    if not path.exists():
        return 0, 0.0, 0.0
    kept = torch.load(path, map_location=model.device)
    model.load_state_dict(kept["model"])
    optimizer.load_state_dict(kept["optimizer"])
    return kept["step"], kept["took_s"], kept["loss"]


def _save(folder: Path, model: Any, optimizer: Any, step: int, took_s: float, loss: float) -> None:
    import torch

    kept = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "took_s": took_s,
        "loss": loss,
    }
    scratch = folder / (_CHECKPOINT + ".part")
    with open(scratch, "wb") as file:
        torch.save(kept, file)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(folder / _CHECKPOINT)


def _write_model(
    folder: Path, name: str, model: Any, processor: Any, plan: Plan, *, command: str
) -> None:
    """A folder that vLLM serves and transformers loads, in bfloat16; it appears whole."""
    import torch

    scratch = folder / f"{name}.part"
    shutil.rmtree(scratch, ignore_errors=True)
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(scratch)
    processor.save_pretrained(scratch)
    curve = read_curve(folder)
    facts = {
        "date": time.strftime("%Y-%m-%d"),
        "parameters": f"{count_parameters(model):,}",
        "seed of lessons and weights": plan.seed,
        "lessons": f"{curve[-1]['lessons']:,} in batches of {plan.batch}",
        "time": f"{curve[-1]['minutes']:.0f} minutes, {model.device.type}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "code": git_commit() or "not from a checkout",
    }
    card = model_card(name, command=command, facts=facts, curve=curve)
    (scratch / "README.md").write_text(card, "utf-8")
    shutil.rmtree(folder / name, ignore_errors=True)
    scratch.rename(folder / name)
