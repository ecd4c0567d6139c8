"""Who hears the trainer's reports: the log of the run, and a person without a terminal."""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from trainers.run_log import LOG, in_words, write_line


class Speed(TrainerCallback):
    """Adds to the reports of losses how fast the steps since the last one were, and the memory.

    `step_seconds` is the mean of a step, the reading of its rows included and measuring and saving
    left out; `peak_memory_gb` (10^9 bytes, on a GPU alone) the most that PyTorch held at once so
    far on this device.
    """

    def __init__(self) -> None:
        self._since, self._seconds, self._steps = 0.0, 0.0, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A step begins."""
        self._since = time.monotonic()

    on_evaluate = on_save = on_train_begin

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A step ends, and the next begins."""
        now = time.monotonic()
        self._seconds += now - self._since
        self._steps += 1
        self._since = now

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """Add what was measured to a report of losses."""
        if "loss" in logs and self._steps:
            logs["step_seconds"] = self._seconds / self._steps
            self._seconds, self._steps = 0.0, 0
            if torch.cuda.is_available():
                logs["peak_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9


class Intervals(TrainerCallback):
    """Lets the recipe say how often to log, measure and save, and not the checkpoint gone on from,
    whose state has what it was begun with.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take the intervals, in steps, of the arguments."""
        state.logging_steps, state.save_steps = args.logging_steps, args.save_steps
        state.eval_steps = args.eval_steps


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
            clock = time.strftime("%H:%M:%S")
            line = f"{clock} step {state.global_step}/{state.max_steps}: {in_words(logs)}"
            print(line, flush=True)  # noqa: T201 - for a person
