"""The optimizer Muon in float32, all matrices of a shape at once.

torch has one, but it computes in bfloat16, which a processor without it emulates (ADR 0005).
"""

# The imports below live in the server's environment, where this runs.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false
from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch

# Of the iteration that makes a matrix orthogonal, and of the momentum: as in torch.optim.Muon.
_COEFFICIENTS = (3.4445, -4.775, 2.0315)
_ITERATIONS = 5
_MOMENTUM = 0.95
_SMALLEST_NORM = 1e-7


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal, with Nesterov's look ahead.

    Source: https://kellerjordan.github.io/posts/muon/. Updates are scaled to the size of AdamW's
    (arXiv:2502.16982), so that one rate serves both.
    """

    def __init__(self, matrices: list[Any], *, weight_decay: float) -> None:
        super().__init__(matrices, {"lr": 1e-3, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """Change every matrix that has a gradient."""
        for group in self.param_groups:
            alike: dict[Any, list[Any]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike[matrix.shape].append(matrix)
            for shape, matrices in alike.items():
                updates = orthogonal(torch.stack([self._ahead(matrix) for matrix in matrices]))
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                for matrix, update in zip(matrices, updates, strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"])
                    matrix.add_(update, alpha=-rate)

    def _ahead(self, matrix: Any) -> Any:
        state = self.state[matrix]
        if not state:
            state["momentum"] = torch.zeros_like(matrix)
        momentum = state["momentum"].lerp_(matrix.grad, 1 - _MOMENTUM)
        return matrix.grad.lerp(momentum, _MOMENTUM)


def orthogonal(matrices: Any) -> Any:
    """Matrices of shape (n, rows, columns), each with its singular values moved close to 1."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=_SMALLEST_NORM)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
