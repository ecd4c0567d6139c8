"""Reading what the `datasets` library reads: a saved folder, or a dataset streamed from the Hub.

The library is imported only when a recipe asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.settings import Source
from pipelines.source_files import Record, SourceError, batch_records

BATCH_ROWS = 32

# No row makes us read more: as much as `images.max_bytes` allows by default.
LARGEST_HUB_FILE = 64 * 1024 * 1024
_ARCHIVES = ("zip://", "tar://", "gzip://", "bz2://", "xz://", "zstd://")


def open_dataset(source: Source) -> Any:
    """A `Dataset` (folder) or `IterableDataset` (Hub, streamed). Raises SourceError."""
    import datasets

    folder = Path(source.path)
    try:
        if folder.is_dir():
            return _open_folder(datasets, folder, source)
        if folder.is_absolute() or source.path.startswith(".") or source.path.count("/") > 1:
            raise SourceError(f"{source.path}: no such folder")
        return datasets.load_dataset(
            source.path,
            source.config,
            split=source.split,
            revision=source.revision,
            streaming=True,
        )
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(f"{source.path}: cannot be opened: {error}") from error


def _open_folder(datasets: Any, folder: Path, source: Source) -> Any:
    if not any((folder / name).is_file() for name in ("state.json", "dataset_dict.json")):
        raise SourceError(
            f"{folder}: not written by save_to_disk; for Parquet files use kind: parquet, "
            "for a folder of pictures kind: imagefolder"
        )
    opened = datasets.load_from_disk(str(folder))
    if not isinstance(opened, datasets.DatasetDict):
        return opened
    if source.split not in opened:
        raise SourceError(f"{folder}: no split '{source.split}'; there are {sorted(opened)}")
    return opened[source.split]


def dataset_types(source: Source, opened: Any) -> dict[str, pa.DataType | None]:
    """Column types; None where a streamed dataset does not state them. Raises SourceError."""
    if opened.features is not None:
        schema = opened.features.arrow_schema
        return {column.name: column.type for column in schema}
    try:
        return dict.fromkeys(next(iter(opened)))
    except StopIteration:
        return {}
    except Exception as error:
        raise SourceError(f"{source.path}: cannot be read: {error}") from error


def dataset_count(source: Source, opened: Any) -> int | None:
    """The number of rows where it is known without reading them."""
    if hasattr(opened, "__len__"):
        return len(opened)
    splits = opened.info.splits or {}
    return splits[source.split].num_examples if source.split in splits else None


def dataset_records(source: Source, opened: Any, names: Sequence[str]) -> Iterator[Record]:
    """The rows, with pictures as the bytes or paths that are stored. Raises SourceError."""
    import datasets

    opened = opened.select_columns(list(names))
    for name, feature in (opened.features or {}).items():
        if isinstance(feature, datasets.Image):
            opened = opened.cast_column(name, datasets.Image(decode=False))
    streamed = not Path(source.path).is_dir()
    try:
        # Arrow batches, because rows would be decoded by the library, pictures and text alike.
        for table in opened.with_format("arrow").iter(batch_size=BATCH_ROWS):
            for batch in table.to_batches():
                for record in batch_records(batch):
                    yield _fetch_hub_files(record, source) if streamed else record
    except SourceError:
        raise
    except Exception as error:
        raise SourceError(f"{source.path}: cannot be read on: {error}") from error


def _fetch_hub_files(record: Record, source: Source) -> Record:
    """Pictures that a streamed Hub dataset keeps as files of its own repository, as bytes.

    Anything else that such a row names is the row's, and not ours to open.
    """
    values = dict(record.values)
    for name, value in values.items():
        path = value.get("path") if isinstance(value, dict) else None
        if not path or value.get("bytes") is not None:
            continue
        if is_own_file(path, source.path):
            values[name] = _fetch(path)
    return Record(values=values)


def is_own_file(path: str, repository: str) -> bool:
    """Whether a path is a file of this dataset repository on the Hub, or inside an archive of it.

    Chained as fsspec does, `zip://inside::hf://datasets/<repository>@<revision>/file.zip`: every
    hop but the last must be an archive, so that no local file and no other host is opened.
    """
    *archives, last = path.split("::")
    own = last.startswith((f"hf://datasets/{repository}@", f"hf://datasets/{repository}/"))
    return own and ".." not in last and all(hop.startswith(_ARCHIVES) for hop in archives)


def _fetch(path: str) -> dict[str, Any]:
    from datasets.utils.file_utils import xopen

    try:
        with xopen(path, "rb") as file:
            data = file.read(LARGEST_HUB_FILE + 1)
            return {"bytes": data if len(data) <= LARGEST_HUB_FILE else None, "path": path}
    except Exception:  # noqa: BLE001 - the row is then rejected by its path
        return {"bytes": None, "path": path}
