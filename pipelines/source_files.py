"""Reading each kind of source as plain records, a few at a time, whatever is wrong inside a row."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.settings import Source

# 64 MiB of picture in base64 is 90 MB.
MAX_LINE_BYTES = 128 * 1024 * 1024
SAMPLE_ROWS = 100
_PATTERNS = {"parquet": "*.parquet", "jsonl": "*.jsonl"}


class SourceError(Exception):
    """A source that the run cannot start with; the message names the file and the column."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row as the source has it, by the source's column names.

    Text that is not UTF-8 holds lone surrogates, as `errors="surrogateescape"` makes them. A record
    that could not be read has a `fault` (reason, detail) and the sha256 of its raw bytes. `line`
    counts from 1, in JSON lines alone.
    """

    values: dict[str, Any] = field(default_factory=dict)
    fault: tuple[str, str] | None = None
    raw_sha256: str | None = None
    line: int | None = None


def source_paths(source: Source) -> list[Path]:
    """The files of a `parquet`, `jsonl` or `imagefolder` source, sorted.

    Raises: SourceError when there are none.
    """
    path = Path(source.path)
    if source.kind == "imagefolder":
        places = [path / "metadata.jsonl", path / source.split / "metadata.jsonl"]
        found = [place for place in places if place.is_file()][:1]
        if not found:
            raise SourceError(f"{path}: an imagefolder needs a file metadata.jsonl in it")
        return found
    pattern = _PATTERNS[source.kind]
    if path.is_dir():
        found = sorted(p for p in path.rglob(pattern) if not p.name.startswith("."))
        if not found:
            raise SourceError(f"{path}: no {pattern} in this folder")
        return found
    if path.is_file():
        return [path]
    if any(sign in source.path for sign in "*?["):
        anchor = Path(path.anchor) if path.is_absolute() else Path(".")
        found = sorted(p for p in anchor.glob(str(path.relative_to(path.anchor))) if p.is_file())
        if found:
            return found
    raise SourceError(f"{source.path}: no such file (source '{source.name or source.path}')")


def image_root(source: Source, file: Path) -> str:
    """The real path of the folder that a file's picture paths are relative to."""
    if source.image_root is not None:
        return os.path.realpath(source.image_root)
    folder = Path(source.path) if Path(source.path).is_dir() else file.parent
    return os.path.realpath(file.parent if source.kind == "imagefolder" else folder)


def parquet_types(file: Path) -> tuple[dict[str, pa.DataType], int]:
    """Column types and the number of rows, from the footer. Raises SourceError."""
    try:
        with pq.ParquetFile(file) as parquet:
            schema = parquet.schema_arrow
            types = {column.name: column.type for column in schema}
            return types, parquet.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{file}: not a readable Parquet file: {error}") from error


def parquet_records(file: Path, names: Sequence[str]) -> Iterator[Record]:
    """The rows of a Parquet file; memory is a batch, not a row group. Raises SourceError."""
    try:
        # Unbuffered, pyarrow would hold whole row groups: a gigabyte of pictures each.
        with pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False) as parquet:
            # Few rows at once: pictures may stand in them, as text too.
            for batch in parquet.iter_batches(64, columns=list(names)):
                yield from batch_records(batch)
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"{file}: damaged: {error}") from error


def batch_records(batch: pa.RecordBatch) -> Iterator[Record]:
    """The rows of an Arrow batch, one by one, with text decoded by us and not by Arrow."""
    columns = {
        name: _plain(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    for i in range(batch.num_rows):
        yield Record(values={name: column[i] for name, column in columns.items()})


def _plain(array: pa.Array) -> list[Any]:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if is_text(array.type):
        # Arrow's own conversion stops at the first string of the batch that is not UTF-8.
        values = array.cast(pa.large_binary()).to_pylist()
        return [None if v is None else v.decode("utf-8", "surrogateescape") for v in values]
    if pa.types.is_struct(array.type):
        fields = {
            field.name: _plain(part)
            for field, part in zip(array.type, array.flatten(), strict=True)
        }
        valid = array.is_valid().to_pylist()
        return [
            {name: part[i] for name, part in fields.items()} if valid[i] else None
            for i in range(len(array))
        ]
    try:
        return array.to_pylist()
    except UnicodeDecodeError:
        return [_plain_scalar(array[i]) for i in range(len(array))]


def _plain_scalar(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return None


def is_text(type_: pa.DataType) -> bool:
    """Whether an Arrow column holds text."""
    if pa.types.is_dictionary(type_):
        return is_text(type_.value_type)
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(kind(type_) for kind in kinds)


def is_picture(type_: pa.DataType) -> bool:
    """Whether an Arrow column can hold pictures: bytes, text, or a struct with bytes or path."""
    if pa.types.is_struct(type_):
        return bool({"bytes", "path"} & {field.name for field in type_})
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return is_text(type_) or any(kind(type_) for kind in kinds)


def jsonl_records(file: Path) -> Iterator[Record]:
    """The rows of a JSON lines file; blank lines are none. Raises SourceError."""
    try:
        with open(file, "rb") as lines:
            for number, line in enumerate(_bounded_lines(lines), start=1):
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip():
                    yield _parse(line, number)
    except OSError as error:
        raise SourceError(f"{file}: {error}") from error


def count_lines(file: Path) -> int:
    """Lines that are not blank."""
    with open(file, "rb") as lines:
        return sum(1 for line in _bounded_lines(lines) if line.strip())


def _bounded_lines(file: Any) -> Iterator[bytes]:
    """Lines; of one that is too long, the first MAX_LINE_BYTES + 1 bytes."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        rest = line
        while not rest.endswith(b"\n") and (rest := file.readline(1 << 20)):
            pass
        yield line


def _parse(line: bytes, number: int) -> Record:
    if len(line) > MAX_LINE_BYTES:
        detail = f"line {number} is longer than {MAX_LINE_BYTES} bytes"
        return Record(fault=("source:not_json", detail), raw_sha256=sha256(line).hexdigest())
    try:
        value = json.loads(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        detail = f"line {number}: {error}"
        return Record(fault=("source:not_json", detail), raw_sha256=sha256(line).hexdigest())
    if not isinstance(value, dict):
        detail = f"line {number} is a {type(value).__name__}, not an object"
        return Record(fault=("source:not_json", detail), raw_sha256=sha256(line).hexdigest())
    return Record(values=value, line=number)
