"""The log of a run, a JSON line a report, and a report in words."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from pipelines.shards import write_bytes

LOG = "log.jsonl"
# How the names of what was measured of a written model begin.
RESULT = "result_"
# What a person wants to read of the trainer's own values.
_SHOWN = ("loss", "learning_rate", "grad_norm", "step_seconds", "peak_memory_gb")
_SHOWN += ("eval_loss", "train_loss", "train_runtime")


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
    """Take out what was logged after a step that the training goes on from, and of its result."""
    lines = [
        line
        for line in read_log(folder)
        if line["step"] <= step and not any(name.startswith(RESULT) for name in line)
    ]
    write_bytes(folder / LOG, "".join(json.dumps(line) + "\n" for line in lines).encode())


def in_words(values: dict[str, Any]) -> str:
    """What of a report a person wants to read: the trainer's own values, or measures of scores."""
    parts = [f"{name.replace('_', ' ')} {values[name]:.4g}" for name in _SHOWN if name in values]
    for name in (name.removesuffix("_rows") for name in values if name.endswith("_rows")):
        mae, constant = values[f"{name}_mae"], values[f"{name}_constant_mae"]
        parts.append(
            f"{name.removeprefix('eval_').replace('_', ' ')}: MAE "
            f"{'-' if mae is None else format(mae, '.2f')} (a constant {constant:.2f}), "
            f"{values[f'{name}_unread']} of {values[f'{name}_rows']} unread"
        )
    return ", ".join(parts)
