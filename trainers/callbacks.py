"""Who hears the trainer's reports: the log of the run, and a person without a terminal."""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from trainers.run_log import LOG, in_words, write_line


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
