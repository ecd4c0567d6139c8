"""The patches of a picture, embedded by one matrix product.

Qwen's vision encoders convolve with a kernel that steps by its own size, which is that product.
Computed as a convolution it takes a quarter of a small model's step on a CPU (docs/adr/0005), and
on some GPUs cuDNN has no fast kernel for it in bfloat16 (huggingface/transformers issue 45750). The
weights keep their names and shapes, which transformers' own `fusion_config` changes while a model
is in memory.
"""

# The imports below live in the trainers' and the server's environments.
# pyright: reportMissingImports=false
from __future__ import annotations

from types import MethodType
from typing import Any


def embed_patches_by_product(model: Any) -> None:
    """Let every patch embedding of a model that can, compute the same as one matrix product."""
    for name, module in model.named_modules():
        if name.endswith("patch_embed") and _steps_by_its_size(getattr(module, "proj", None)):
            module.forward = MethodType(_embed, module)


def _steps_by_its_size(proj: Any) -> bool:
    from torch.nn import Conv3d

    plain = {"padding": (0, 0, 0), "dilation": (1, 1, 1), "groups": 1}
    return (
        isinstance(proj, Conv3d)
        and proj.stride == proj.kernel_size
        and all(getattr(proj, name) == value for name, value in plain.items())
    )


def _embed(embed: Any, pixels: Any) -> Any:
    from torch.nn.functional import linear

    weight = embed.proj.weight.flatten(1)
    return linear(pixels.to(weight.dtype), weight, embed.proj.bias)
