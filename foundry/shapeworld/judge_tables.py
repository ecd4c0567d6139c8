"""Lists of unequal length as one tensor."""

# The imports below live in the server's environment, where this runs.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Not asked for: what stands before the reply.
IGNORED = -100


def table(rows: Sequence[Sequence[Any]], fill: Any, *, left: bool = False) -> Any:
    """Rows as a tensor, filled up at the right, or at the `left`."""
    import torch

    width = max(map(len, rows))
    gaps = ([fill] * (width - len(row)) for row in rows)
    return torch.tensor(
        [[*gap, *row] if left else [*row, *gap] for row, gap in zip(rows, gaps, strict=True)]
    )
