"""Which weights a training starts from, told apart from others that have the same name."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

# Of a file that is larger than all of them together, so many blocks of so many bytes are read.
BLOCKS, BLOCK_BYTES = 512, 4096
# Of a model on the Hub, files of which one is here once its processor was loaded.
_OF_PROCESSORS = ("config.json", "preprocessor_config.json", "tokenizer_config.json")


def weights_digest(model: str, revision: str | None) -> str | None:
    """A digest of what stands under a model's name now; None where nothing does yet.

    Of a folder it is of its config and, of each file of weights, the size and evenly spaced blocks,
    the first and the last among them: some megabytes, however large the model. Of a name on the Hub
    it is the commit of the copy that is here.
    """
    folder = Path(model)
    if not folder.is_dir():
        return _commit(model, revision)
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


def _commit(model: str, revision: str | None) -> str | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [try_to_load_from_cache(model, name, revision=revision) for name in _OF_PROCESSORS]
    except HFValidationError:
        return None  # The path of a folder that is gone.
    # A copy stands in a folder that its commit names.
    return next((Path(path).parent.name for path in found if isinstance(path, str)), None)
