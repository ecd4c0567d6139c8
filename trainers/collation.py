"""TRL's batches, checked: a row's picture tokens are as many as the processor made of its pictures.

They differ where a text holds the picture token, or a chat template loses a picture: the model
would then stop with an error that names no row, or see one row's picture as another's.
"""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

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
        ids = [example["row_id"] for example in examples]
        pictures = [len(example["images"]) for example in examples]
        batch = self.collator(list(examples))
        found = (batch["input_ids"] == self.image_token_id).sum(dim=1).tolist()
        made = iter((batch["image_grid_thw"].prod(dim=1) // self.patches_a_token).tolist())
        for row_id, count, tokens in zip(ids, pictures, found, strict=True):
            wanted = sum(next(made) for _ in range(count))
            if tokens != wanted:
                raise PictureTokensWrong(
                    f"row {row_id}: {tokens} picture tokens in its text, but its {count} pictures "
                    f"make {wanted}; look for the picture token in its text, and in the chat "
                    "template for what it does with pictures"
                )
        return batch
