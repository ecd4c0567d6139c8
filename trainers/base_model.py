"""Which weights a training starts from, told apart from others that have the same name."""

from __future__ import annotations

from pathlib import Path

from pipelines.weights import folder_digest

# Of a model on the Hub, files of which one is here once its processor was loaded.
_OF_PROCESSORS = ("config.json", "preprocessor_config.json", "tokenizer_config.json")


def weights_digest(model: str, revision: str | None) -> str | None:
    """A digest of what stands under a model's name now; None where nothing does yet.

    Of a folder it is `folder_digest`, of a name on the Hub the commit of the copy that is here.
    """
    return folder_digest(Path(model)) or _commit(model, revision)


def weights_folder(model: str, revision: str | None) -> Path | None:
    """Where a model's files are on this machine: its folder, or that of the copy from the Hub."""
    return Path(model) if Path(model).is_dir() else _copy(model, revision)


def _commit(model: str, revision: str | None) -> str | None:
    # A copy stands in a folder that its commit names.
    return copy.name if (copy := _copy(model, revision)) else None


def _copy(model: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = [try_to_load_from_cache(model, name, revision=revision) for name in _OF_PROCESSORS]
    except HFValidationError:
        return None  # The path of a folder that is gone.
    return next((Path(path).parent for path in found if isinstance(path, str)), None)
