"""Training the bundled judge: one loop over lessons, resumable anywhere.

The lessons of a step follow from the seed and the step's number alone, and nothing in the network
draws at random, so a run that was broken off goes on as if it had not been.
"""

# The imports below live in the server's environment, where this runs.
# pyright: reportMissingImports=false
from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from foundry.shapeworld.judge_batches import Batch, lesson_loss
from foundry.shapeworld.judge_evaluation import evaluate, one_line
from foundry.shapeworld.judge_model import count_parameters, hasten, new_model, new_processor
from foundry.shapeworld.judge_plan import Plan, learning_rate
from foundry.shapeworld.judge_run import CURVE, add_to_curve, keep_plan, restore, save, write_model
from foundry.shapeworld.judge_stream import batch_stream
from foundry.shapeworld.judge_tokenizer import conversation, train_tokenizer
from foundry.shapeworld.lesson import Lesson
from foundry.shapeworld.mixture import lessons_of_groups
from pipelines.hardware import cpu_has_bfloat16
from pipelines.version import git_commit

Say = Callable[[str], None]


VOCABULARY = 1536
_SAMPLE_LESSONS = 4096
_SAY_EVERY = 20
_SAVE_EVERY = 100


def train(folder: Path, plan: Plan, say: Say, *, command: str) -> None:
    """Train and write `folder/base` and `folder/judge`, going on from a checkpoint if there is one.

    `folder/curve.jsonl` gets a line an evaluation; `command` goes into the model cards. Raises
    AnotherRun when the folder holds a run of another plan, or of other lessons.
    """
    # Threads that spin while they wait would fight the process that draws the lessons.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch

    # Of the beginning: the checkout may be at another one when the training ends.
    commit = git_commit()
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    sample = lessons_of_groups(plan.seed, -1 - _SAMPLE_LESSONS, phase="judge", size=_SAMPLE_LESSONS)
    keep_plan(folder, plan, sample)
    processor = _new_processor(sample)
    model = new_model(processor.tokenizer, plan.size)
    hasten(model)
    # On a GPU where there is one.
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    halves = model.device.type != "cpu" or cpu_has_bfloat16()
    optimizers = new_optimizers(model, plan)
    step, before_s, loss = restore(folder, model, optimizers)
    say(f"{count_parameters(model) / 1e6:.2f} M parameters, {len(processor.tokenizer)} tokens")
    say(f"steps {step + 1} to {plan.steps}, about {plan.batch} lessons each; {folder / CURVE}")
    began, first = time.monotonic(), step
    model.train()
    for batch in batch_stream(plan, processor, first_step=step):
        now = _learn(model, optimizers, batch, rate=learning_rate(plan, step), halves=halves)
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
            add_to_curve(folder, plan, step, minutes, loss, found)
        if step in (plan.base_end, plan.steps):
            name = "judge" if step == plan.steps else "base"
            write_model(folder, name, model, processor, plan, command=command, commit=commit)
        if step % _SAVE_EVERY == 0 or step in plan.evaluated:
            save(folder, model, optimizers, step, before_s + time.monotonic() - began, loss)


def new_optimizers(model: Any, plan: Plan) -> list[Any]:
    """Muon for the matrices of the layers, AdamW for embeddings, norms and biases."""
    import torch

    from foundry.shapeworld.muon import Muon

    matrices, others = [], []
    for name, value in model.named_parameters():
        hidden = value.ndim == 2 and "embed" not in name
        (matrices if hidden else others).append(value)
    decay = plan.weight_decay
    return [
        Muon(matrices, weight_decay=decay),
        torch.optim.AdamW(others, weight_decay=decay),
    ]


def _learn(model: Any, optimizers: list[Any], batch: Batch, *, rate: float, halves: bool) -> float:
    """One step of the optimizers, in bfloat16 with `halves`. Returns the loss before it."""
    import torch

    for group in chain.from_iterable(optimizer.param_groups for optimizer in optimizers):
        group["lr"] = rate
    inputs = {name: value.to(model.device) for name, value in batch[0].items()}
    with torch.autocast(model.device.type, torch.bfloat16, enabled=halves):
        loss = lesson_loss(model, inputs, *(wanted.to(model.device) for wanted in batch[1:]))
    model.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
    return loss.item()


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
