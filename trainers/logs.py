"""What a run tells: JSON lines in its folder, and the terminal."""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

LOG = "log.jsonl"
# Of the trainer's own, not worth a person's attention.
_QUIET = ("total_flos", "epoch", "num_tokens", "entropy", "runtime", "per_second", "rows")


class LogLines(TrainerCallback):
    """Appends a line to `log.jsonl` for every report of the trainer: step, time, and its values."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """Write one line."""
        if state.is_world_process_zero:
            write_line(self.path, state.global_step, logs)


class PlainLines(TrainerCallback):
    """A line for a person on standard output, where there is no terminal to draw on."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """Print one line."""
        if state.is_world_process_zero:
            told = {k: v for k, v in logs.items() if not any(quiet in k for quiet in _QUIET)}
            parts = ", ".join(f"{k.replace('_', ' ')} {_short(v)}" for k, v in told.items())
            clock = time.strftime("%H:%M:%S")
            line = f"{clock} step {state.global_step}/{state.max_steps}: {parts}"
            print(line, flush=True)  # noqa: T201 - for a person


def write_line(path: Path, step: int, values: dict[str, Any]) -> None:
    """Append one line; what is not a finite number is null."""
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "time": now, **finite}) + "\n")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All lines; a last one that was cut off by a crash is no line."""
    try:
        text = (folder / LOG).read_text("utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1]]


def cut_log(folder: Path, step: int) -> None:
    """Take out what was logged after a step that the training goes on from."""
    lines = [line for line in read_log(folder) if line["step"] <= step]
    (folder / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
