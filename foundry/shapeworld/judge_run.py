"""The folder of a training: its plan, checkpoint, learning curve and models."""

# The imports below live in the server's environment, where this runs.
# pyright: reportMissingImports=false
from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from foundry.shapeworld.judge_card import model_card
from foundry.shapeworld.judge_evaluation import Found
from foundry.shapeworld.judge_model import count_parameters
from foundry.shapeworld.judge_plan import Plan
from foundry.shapeworld.lesson import Lesson

_CHECKPOINT = "checkpoint.pt"
# To be raised with any change of the training by which a run would go on as another.
_TRAINING = 3
CURVE = "curve.jsonl"


class AnotherRun(Exception):
    """A folder that holds a run of another plan, or of other lessons."""


def add_to_curve(
    folder: Path, plan: Plan, step: int, minutes: float, loss: float, found: Found
) -> None:
    """Add an evaluation to the learning curve."""
    entry = {
        "step": step,
        "lessons": step * plan.batch,
        "minutes": round(minutes, 1),
        "loss": round(loss, 4),
        "found": found,
    }
    path = folder / CURVE
    # A run that was killed while it wrote left half a line.
    half = path.exists() and path.read_text("utf-8")[-1:] not in ("", "\n")
    with open(path, "a", encoding="utf-8") as file:
        file.write("\n" * half + json.dumps(entry) + "\n")


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """The evaluations of a run, in order of their steps; of two of one step the later counts."""
    entries = {}
    for line in (folder / CURVE).read_text("utf-8").splitlines():
        # A run that was killed while it wrote leaves half a line, and does that step again.
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            entries[entry["step"]] = entry
    return [entries[step] for step in sorted(entries)]


def keep_plan(folder: Path, plan: Plan, sample: Sequence[Lesson]) -> None:
    """Write down the plan and a digest of what is taught, or check that the folder's are those.

    Raises AnotherRun when they are not.
    """
    taught = sha256()
    for lesson in sample:
        texts = (lesson.kind, lesson.system or "", lesson.text, lesson.reply)
        taught.update("\0".join(texts).encode())
    for picture in sample[0].pictures:
        taught.update(picture.tobytes())
    facts = asdict(plan) | {"training": _TRAINING, "lessons_sha256": taught.hexdigest()}
    path, text = folder / "plan.json", json.dumps(facts, indent=1) + "\n"
    if path.exists() and path.read_text("utf-8") != text:
        raise AnotherRun(
            f"{path} is of another run, or prompts, schemas, the world or the training have "
            "changed since; take another folder, or remove this one"
        )
    path.write_text(text, "utf-8")


def restore(folder: Path, model: Any, optimizers: Sequence[Any]) -> tuple[int, float, float]:
    """Steps done, seconds they took and the running loss, with the state of then put in place."""
    import torch

    path = folder / _CHECKPOINT
    if not path.exists():
        return 0, 0.0, 0.0
    kept = torch.load(path, map_location=model.device)
    model.load_state_dict(kept["model"])
    for optimizer, state in zip(optimizers, kept["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    return kept["step"], kept["took_s"], kept["loss"]


def save(
    folder: Path, model: Any, optimizers: Sequence[Any], step: int, took_s: float, loss: float
) -> None:
    """Keep the state of a training after a step, to go on from."""
    import torch

    kept = {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
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


def write_model(
    folder: Path,
    name: str,
    model: Any,
    processor: Any,
    plan: Plan,
    *,
    command: str,
    commit: str | None,
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
        "code": commit or "not from a checkout",
    }
    card = model_card(name, command=command, facts=facts, curve=curve)
    (scratch / "README.md").write_text(card, "utf-8")
    shutil.rmtree(folder / name, ignore_errors=True)
    scratch.rename(folder / name)
