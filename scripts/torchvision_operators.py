"""Let torchvision's Python half import beside a torch that its compiled half was not built for.

The package index carries torchvision for Linux only as the CUDA build. Beside a CPU-only torch its
library does not load, and the import stops at `operator torchvision::nms does not exist`, because
two operators are described that nobody declared. Nothing in serving or training Qwen3-VL calls
them, so declaring them is enough.

`scripts/install_vllm.sh` puts this file and `torchvision_operators.pth` into an environment. The
.pth file calls `install()` in every Python process of that environment. That only adds an import
hook; torch is imported if and when torchvision is. Where torchvision loads its library (a GPU
host, macOS, the CPU build) the hook changes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# The module that tries to load the library. What needs the operators is imported after it.
_TARGET = "torchvision.extension"
_OPERATORS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared: list[Any] = []


def install() -> None:
    """Add the import hook to this process, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def declare_missing(extension: ModuleType) -> list[str]:
    """Declare the operators that torchvision could not register itself.

    `extension` is the imported module `torchvision.extension`. Returns the names declared: none
    where the library was loaded.
    """
    if extension._has_ops():
        return []
    import torch

    missing = [name for name in _OPERATORS if not hasattr(torch.ops.torchvision, name)]
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in missing:
            library.define(_OPERATORS[name])
        _declared.append(library)  # torch takes the operators back when the library is collected
    return missing


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _TARGET:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, inner: Loader) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)  # get_source and the like, for whoever inspects

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._inner.exec_module(module)
        declare_missing(module)
