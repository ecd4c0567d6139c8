"""What one reward trains, where that stands, and whether what stands there was made alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from examples.grpo_shapeworld.task import Task
from pipelines.shards import write_json
from trainers.base_model import weights_digest

# Sources of this example that decide no result: they tell of them.
_TELL = {"__init__", "arms", "curves", "report", "verdicts"}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Policies that one reward trains; `model` is the critic's, None for the exact truth."""

    task: Task
    critic: str
    model: str | None
    formula: str
    folder: Path

    def result(self, seed: int) -> Path:
        """Where a seed's result is, once there is one."""
        return self.folder / f"seed-{seed}" / "result.json"

    @property
    def warm(self) -> Path:
        """The policy that all arms of a task begin with."""
        return self.folder.parent / "warm"


def about_critic(model: str | None) -> dict[str, Any]:
    """A critic's `model` with the digest of its `weights`, both None for the exact truth."""
    return {"model": model, "weights": weights_digest(model, None) if model else None}


def deciding_sources() -> list[Path]:
    """The example's own sources that a result hangs on."""
    return sorted(p for p in Path(__file__).parent.glob("*.py") if p.stem not in _TELL)


def code_digest() -> str:
    """A short digest of them: a changed comment counts as well."""
    digest = sha256()
    for path in deciding_sources():
        digest.update(f"{path.name} {sha256(path.read_bytes()).hexdigest()} ".encode())
    return digest.hexdigest()[:12]


def refusal(arm: Arm, steps: int) -> str | None:
    """Why an arm cannot go on here: its start or its results were made otherwise than now.

    What they are made with is noted beside them as long as there are none.
    """
    code = {"code": code_digest()}
    started = (arm.warm / "tokenizer.json").exists()
    trained = any(arm.folder.glob("seed-*/before.json"))
    other_start = _other(arm.warm.with_name("warm.json"), code, made=started)
    if other_start:
        return f"{arm.warm} {other_start}: give another --out, or remove {arm.warm.parent}"
    about = {**about_critic(arm.model), "steps": steps, **code}
    other = _other(arm.folder / "about.json", about, made=trained)
    return other and f"{arm.folder} {other}: give the critic another name, or --out"


def _other(note: Path, about: Mapping[str, Any], *, made: bool) -> str | None:
    """What was otherwise when it was made, as the note has it; None where nothing was."""
    if not made:
        write_json(note, about)
    began = json.loads(note.read_text()) if note.exists() else {}
    changed = [
        f"{name} {began.get(name, 'unknown')}, now {now}"
        for name, now in about.items()
        if name not in began or began[name] != now
    ]
    return f"was made with {'; '.join(changed)}" if changed else None
