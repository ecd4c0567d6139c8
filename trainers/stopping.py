"""SIGTERM ends a training after the step that it is in, with a checkpoint to go on from.

The trainer's own `enable_jit_checkpoint` waits some seconds, may stop each of several processes at
another step, and does not tell who called it that the training was cut short.
"""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

import signal
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainerCallback


class StopOnSigterm(TrainerCallback):
    """`stopped` tells, after the training, whether it was cut short."""

    def __init__(self) -> None:
        self.stopped = False
        self._asked = False
        self._before: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Listen from now on."""
        self._before = signal.signal(signal.SIGTERM, self._note)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save and stop if any process was asked to; a measurement that is due is left out."""
        if self._any_asked() and state.global_step < state.max_steps:
            self.stopped = True
            control.should_save = control.should_training_stop = control.should_log = True
            control.should_evaluate = False

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Listen no more."""
        signal.signal(signal.SIGTERM, self._before)

    def _note(self, *_: Any) -> None:
        self._asked = True

    def _any_asked(self) -> bool:
        """The signal reaches the processes of a run at different steps; they must stop at one."""
        place = PartialState()
        if place.num_processes == 1:
            return self._asked
        asked = torch.tensor(int(self._asked), device=place.device)
        torch.distributed.all_reduce(asked, op=torch.distributed.ReduceOp.MAX)
        return bool(asked)
