"""Weights in a folder, told apart from others that stood or will stand there."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

# Of a file that is larger than all of them together, so many blocks of so many bytes are read.
BLOCKS, BLOCK_BYTES = 512, 4096


def folder_digest(folder: Path) -> str | None:
    """A digest of the model in a folder as it is now; None where there is no folder.

    It is of the config and, of each file of weights, the size and evenly spaced blocks, the first
    and the last among them: some megabytes are read, however large the model.
    """
    if not folder.is_dir():
        return None
    digest = sha256()
    weights = [*folder.glob("*.safetensors"), *folder.glob("*.bin")]
    for path in sorted([*folder.glob("config.json"), *weights]):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        for block in _blocks(path):
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
