"""Weights in a folder, told apart from others that stood or will stand there."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

# Of a file of weights that is larger than all of them together so many blocks are read.
BLOCKS, BLOCK_BYTES = 512, 4096
_WEIGHTS = (".safetensors", ".bin", ".gguf")
_SETTINGS = (".json", ".jinja", ".txt")


def folder_digest(folder: Path) -> str | None:
    """A digest of the model in a folder as it is now; None where there are no weights.

    It is of all of the settings, tokenizer and chat template and, of each file of weights, the size
    and evenly spaced blocks, the first and the last among them: not much is read, however large the
    model.
    """
    weights = [path for ending in _WEIGHTS for path in folder.glob(f"*{ending}")]
    if not weights:
        return None
    digest = sha256()
    for path in sorted([*weights, *(path for e in _SETTINGS for path in folder.glob(f"*{e}"))]):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        for block in _blocks(path) if path.suffix in _WEIGHTS else (path.read_bytes(),):
            digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    with open(path, "rb") as file:
        if size <= BLOCKS * BLOCK_BYTES:
            yield file.read()
            return
        for block in range(BLOCKS):
            file.seek((size - BLOCK_BYTES) * block // (BLOCKS - 1))
            yield file.read(BLOCK_BYTES)
