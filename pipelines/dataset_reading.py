"""A finished `dataset/` read back: its files and splits, row group by row group, its pictures.

Memory holds one row group at a time, however large the dataset.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.build import PICTURES, Kind, Row
from pipelines.settings import ImageLimits
from pipelines.shards import shard_paths

# What a published dataset tells of how its pictures were prepared; from the dataset's folder.
LIMITS = "asked_with/images.json"
# A flow that ends puts new files in the place of those that are being read.
_WHAT_TO_DO = "wait until its flow has ended if it runs, else make or fetch the dataset again"


class DatasetUnreadable(Exception):
    """A folder that holds no dataset, or one that is not whole; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset's files in order, by split, and what its rows are scores of.

    `folder` is the build's, where the files are those of a build.
    """

    folder: Path
    kind: Kind
    splits: dict[str, list[Path]]

    @property
    def paths(self) -> list[Path]:
        """The files of all splits, in order."""
        return [path for paths in self.splits.values() for path in paths]


def open_dataset(folder: Path) -> Dataset:
    """The dataset of a build's folder, or of a folder that holds the Parquet files themselves.

    Raises DatasetUnreadable where there is none, where files of one split are missing, or where a
    build is not finished or has other files than its manifest says.
    """
    build = _build_of(folder)
    inside = folder / "dataset"
    place = inside if inside.is_dir() else folder
    splits = whole_files(build) if build else by_split(sorted(place.rglob("*.parquet")))
    if not splits:
        raise DatasetUnreadable(
            f"{folder}: no rows here; name a finished build, or a folder with "
            "train-00000-of-00001.parquet and the like"
        )
    check_counts(folder, splits)
    names = _open(next(iter(splits.values()))[0]).schema_arrow.names
    for kind, columns in PICTURES.items():
        if {"row_id", "score", "reasoning", *columns} <= set(names):
            return Dataset(folder=build or folder, kind=kind, splits=splits)
    raise DatasetUnreadable(f"{folder}: not the columns of a build's dataset: {', '.join(names)}")


def whole_files(build: Path) -> dict[str, list[Path]]:
    """The files of a build's dataset by split, which are those that its manifest names.

    Raises DatasetUnreadable where the build is one of pairs, is not finished, or a file is missing,
    is one too many or has another number of rows.
    """
    if (build / "preferences").is_dir():
        raise DatasetUnreadable(
            f"{build}: holds pairs of replies, for trainers.dpo; name the build they are of"
        )
    try:
        manifest = json.loads((build / "manifest.json").read_text("utf-8"))
        expected: dict[str, int] = dict(manifest["files"])
    except FileNotFoundError as error:
        fault = "has no manifest.json, so its last run did not finish; run its flow again"
        raise DatasetUnreadable(f"{build}: {fault}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        fault = f"does not say which files the dataset has ({error!r}); run its flow again"
        raise DatasetUnreadable(f"{build / 'manifest.json'}: {fault}") from error
    paths = {path.name: path for path in sorted((build / "dataset").glob("*.parquet"))}
    for name in sorted(paths.keys() | expected.keys()):
        rows = _open(paths[name]).metadata.num_rows if name in paths else None
        if rows != expected.get(name):
            has = "is missing" if rows is None else f"has {rows} rows"
            raise DatasetUnreadable(
                f"{build / 'dataset' / name}: {has}, manifest.json says "
                f"{expected.get(name, 'nothing of it')}; run its flow again"
            )
    return by_split(list(paths.values()))


def _build_of(folder: Path) -> Path | None:
    """The build that a folder is, or whose `dataset/` it is."""
    if (folder / "build.json").exists():
        return folder
    place = folder.resolve()
    inside = place.name == "dataset" and (place.parent / "build.json").exists()
    return place.parent if inside else None


def by_split(paths: list[Path]) -> dict[str, list[Path]]:
    """Files such as `train-00000-of-00002.parquet` by their split; others are left out."""
    splits: dict[str, list[Path]] = {}
    for path in paths:
        if "-of-" in path.name:
            splits.setdefault(path.name.partition("-")[0], []).append(path)
    return splits


def check_counts(folder: Path, splits: Mapping[str, Sequence[Path]]) -> None:
    """Raises DatasetUnreadable where there are not as many files of a split as their names say."""
    for split, paths in splits.items():
        wanted = paths[0].stem.rpartition("-")[2]
        if wanted != f"{len(paths):05d}":
            raise DatasetUnreadable(f"{folder}: {len(paths)} of {wanted} files of split '{split}'")


def read_groups(paths: list[Path], columns: list[str]) -> Iterator[tuple[Path, int, list[Row]]]:
    """Every row group: its file, its number there, and its rows with those of `columns` it has.

    Raises DatasetUnreadable naming the file.
    """
    for path in paths:
        file = _open(path)
        for group in range(file.num_row_groups):
            yield path, group, _read_group(path, file, group, columns)


def read_group(path: Path, group: int, columns: list[str]) -> list[Row]:
    """The rows of one row group, as `read_groups` gives them."""
    return _read_group(path, _open(path), group, columns)


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Those of some columns that a file has, of all its rows. Raises DatasetUnreadable."""
    file = _open(path)
    known = [name for name in columns if name in file.schema_arrow.names]
    with reading(str(path)):
        return file.read(columns=known).select(known)


def source_rows(build: Path, row_ids: Collection[str], columns: Sequence[str]) -> dict[str, Row]:
    """What `rows/`, where there is one, has in `columns` of some rows, by id."""
    paths = shard_paths(build / "rows") if row_ids else []
    return _rows_with(paths, "row_id", row_ids, columns)


def answers_of(
    build: Path, table: str, wanted: Mapping[str, Collection[str | None]]
) -> dict[str, Row]:
    """Answers of a table by id, those that it has; `wanted` are ids by bucket, such as `00012`.

    Of the shards of those buckets, only the row groups that hold one are read whole.
    """
    found: dict[str, Row] = {}
    for bucket, ids in wanted.items():
        # Of two rows with one answer id the later stands.
        found |= _rows_with(shard_paths(build / table, f"{bucket}-*.parquet"), "answer_id", ids)
    return found


def _rows_with(
    paths: list[Path], key: str, ids: Collection[str | None], columns: Sequence[str] | None = None
) -> dict[str, Row]:
    """Rows with one of these ids in column `key`, by it, with `columns` or all that they have."""
    found: dict[str, Row] = {}
    for path in paths:
        file = _open(path)
        names = file.schema_arrow.names
        if columns is not None:
            names = [name for name in (key, *columns) if name in names]
        for group in range(file.num_row_groups):
            with reading(f"{path}: row group {group}"):
                known = file.read_row_group(group, columns=[key])[key].to_pylist()
                at = [i for i, value in enumerate(known) if value in ids]
                if at:
                    rows = file.read_row_group(group, columns=names).take(at).to_pylist()
                    found |= {row[key]: row for row in rows}
    return found


def file_bytes(picture: Row | None, digest: str) -> bytes | None:
    """The original that a picture of `rows/` names; None where it is gone or is another one.

    Far cheaper than the dataset, where a picture comes with all those of its row group.
    """
    try:
        data = Path((picture or {})["path"]).read_bytes()
    except (OSError, KeyError, TypeError, ValueError):
        return None
    return data if sha256(data).hexdigest() == digest else None


def original_bytes(row: Row, column: str) -> bytes:
    """The original bytes of a row's picture, from the row or from the file that it names.

    Raises DatasetUnreadable for a picture that is gone or is not the one that was scored.
    """
    cell = row[column]
    where = f"row {row['row_id']}, {column}"
    try:
        data = cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()
    except (OSError, TypeError) as error:
        raise DatasetUnreadable(f"{where}: {error}; put the picture back") from error
    if sha256(data).hexdigest() != row[f"{column}_sha256"]:
        name = cell["path"]
        raise DatasetUnreadable(f"{where}: {name} is not the picture that was scored; put it back")
    return data


def image_limits(folder: Path) -> ImageLimits:
    """The limits that a build's pictures were prepared under; the defaults where none are told."""
    return told_limits(folder) or ImageLimits()


def told_limits(folder: Path) -> ImageLimits | None:
    """The limits of pictures that a build tells in its manifest, a published one in `LIMITS`.

    `folder` is the dataset's, or the one in it with the files. Raises DatasetUnreadable for limits
    that are none.
    """
    try:
        recipe = json.loads((folder / "manifest.json").read_text("utf-8"))["recipe"]
        return ImageLimits(**recipe["images"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # No build, or one that does not tell: it may be published.
    for path in (folder / LIMITS, folder.parent / LIMITS):
        if path.exists():
            try:
                return ImageLimits(**json.loads(path.read_text("utf-8")))
            except (OSError, ValueError, TypeError) as error:
                raise DatasetUnreadable(f"{path}: no limits of pictures: {error}") from error
    return None


def _open(path: Path) -> pq.ParquetFile:
    with reading(str(path)):
        return pq.ParquetFile(path)


def _read_group(path: Path, file: pq.ParquetFile, group: int, columns: list[str]) -> list[Row]:
    known = [name for name in columns if name in file.schema_arrow.names]
    with reading(f"{path}: row group {group}"):
        return file.read_row_group(group, columns=known).to_pylist()


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Raise what goes wrong in reading Parquet as DatasetUnreadable, with where it was."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DatasetUnreadable(f"{where} cannot be read: {error}; {_WHAT_TO_DO}") from error
