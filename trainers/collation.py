"""TRL's batches, checked: a row's picture tokens are as many as the processor made of its pictures.

They differ where a text holds the picture token, or a chat template loses a picture: processor or
model would then stop with an error that names no row, or take one row's picture for another's.
"""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any

from pipelines.build import Row


class PictureTokensWrong(Exception):
    """A row with another number of picture tokens than its pictures make."""


class CheckedCollator:
    """A collator of TRL whose batches are checked.

    `processor` is the model's; its picture token stands once for each patch that the language model
    sees, which is `merge_size` squared patches of the vision encoder.
    """

    def __init__(self, collator: Any, processor: Any) -> None:
        self.collator = collator
        self.image_token_id = processor.image_token_id
        self.patches_a_token = processor.image_processor.merge_size**2

    def __call__(self, examples: Sequence[Row]) -> Any:
        """The batch. Raises PictureTokensWrong naming the first row at fault."""
        from torch.utils.data import get_worker_info

        if get_worker_info() is not None:
            # A launcher ends a run by a signal to all of its processes: the run itself stops after
            # its step, and its loaders with it.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # Copies, because TRL's collator writes into the rows that it is given.
        try:
            batch = self.collator([dict(example) for example in examples])
        except (ValueError, IndexError, StopIteration) as error:
            if len(examples) == 1:
                told = f"the processor cannot place its pictures ({error!r})"
                raise _wrong(examples[0], told) from error
            for example in examples:
                self([example])
            raise
        found = (batch["input_ids"] == self.image_token_id).sum(dim=1).tolist()
        made = iter((batch["image_grid_thw"].prod(dim=1) // self.patches_a_token).tolist())
        # A batch of pairs has all rows with their chosen reply, then all with the rejected one.
        shown = [*examples] * (len(found) // len(examples))
        for example, tokens in zip(shown, found, strict=True):
            wanted = sum(next(made) for _ in example["images"])
            if tokens != wanted:
                told = f"{tokens} picture tokens in its text, its pictures make {wanted}"
                raise _wrong(example, told)
        return batch


def _wrong(example: Row, told: str) -> PictureTokensWrong:
    what_to_do = "look for a picture token in its texts, and at the chat template"
    return PictureTokensWrong(f"row {example['row_id']}: {told}; {what_to_do}")
