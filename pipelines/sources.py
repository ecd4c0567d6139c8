"""Where rows come from: checked before anything starts, then streamed row by row.

A fault inside a row is that row's and never stops the rest; a fault of a whole file or column is a
`SourceError`, raised by `check_sources` before a server is started.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pipelines.picture_refs import PictureRef, raw_sha256, read_reference
from pipelines.pictures import PictureRejected
from pipelines.settings import Source
from pipelines.source_checks import PICTURE_COLUMNS, check_sources, column_map, column_names
from pipelines.source_datasets import (
    dataset_count,
    dataset_records,
    dataset_types,
    open_dataset,
)
from pipelines.source_files import (
    SAMPLE_ROWS,
    Record,
    SourceError,
    count_lines,
    image_root,
    jsonl_records,
    parquet_records,
    parquet_types,
    source_paths,
)

__all__ = ["PICTURE_COLUMNS", "RawRow", "SourceError", "check_sources", "count_rows", "read_source"]


@dataclass(frozen=True, kw_only=True)
class RawRow:
    """One row of a source by our column names, before its pictures are opened.

    `index` counts from 0 in the source. `fault` is (reason, detail) of the first thing wrong.
    Text that is not UTF-8 holds lone surrogates. `metadata_json` holds the `keep` columns.
    `raw_sha256` identifies a row that could not be taken apart at all.
    """

    index: int
    source_id: str | None
    values: dict[str, str | PictureRef | None]
    fault: tuple[str, str] | None
    metadata_json: str | None
    raw_sha256: str | None = None


def count_rows(source: Source) -> int | None:
    """Rows that `read_source` will give; None where only reading tells (some Hub datasets)."""
    if source.kind == "parquet":
        count: int | None = sum(parquet_types(file)[1] for file in source_paths(source))
    elif source.kind == "datasets":
        count = dataset_count(source, open_dataset(source))
    else:
        count = sum(count_lines(file) for file in source_paths(source))
    if count is None:
        return source.limit
    return count if source.limit is None else min(count, source.limit)


def read_source(
    source: Source, columns_needed: Sequence[str], *, allow_http: bool = False
) -> Iterator[RawRow]:
    """The rows of a source in order, up to its `limit`.

    Raises: SourceError when a file is damaged or was changed since `check_sources`.
    """
    rows = _placed_records(source, columns_needed)
    for index, (record, columns, root) in enumerate(islice(rows, source.limit)):
        yield _raw_row(index, record, columns, source, root, columns_needed, allow_http)


def _placed_records(
    source: Source, needed: Sequence[str]
) -> Iterator[tuple[Record, dict[str, str], str | None]]:
    """Records with the names of their columns and the folder of their pictures."""
    if source.kind == "datasets":
        opened = open_dataset(source)
        columns = column_map(source, needed, dataset_types(source, opened), source.path)
        root = source.image_root or (source.path if os.path.isdir(source.path) else None)
        real = None if root is None else os.path.realpath(root)
        for record in dataset_records(source, opened, [*{*columns.values(), *source.keep}]):
            yield record, columns, real
        return
    for file in source_paths(source):
        root = image_root(source, file)
        if source.kind == "parquet":
            columns = column_map(source, needed, parquet_types(file)[0], file)
            records = parquet_records(file, [*{*columns.values(), *source.keep}])
        else:
            sample = list(islice(jsonl_records(file), SAMPLE_ROWS))
            columns = column_map(source, needed, column_names(sample), file, strict=False)
            del sample  # It may hold a hundred pictures.
            records = jsonl_records(file)
        for record in records:
            yield record, columns, root


def _raw_row(
    index: int,
    record: Record,
    columns: dict[str, str],
    source: Source,
    root: str | None,
    needed: Sequence[str],
    allow_http: bool,
) -> RawRow:
    fault = record.fault
    values: dict[str, str | PictureRef | None] = {}
    for ours in needed if fault is None else ():
        value = record.values.get(columns[ours])
        if ours in PICTURE_COLUMNS:
            values[ours], wrong = _take_picture(value, root, allow_http)
        else:
            values[ours], wrong = _take_text(value)
        if wrong and fault is None:
            fault = (wrong[0], f"{ours}: {wrong[1]}")
    identifier = record.values.get(columns["id"]) if "id" in columns else None
    metadata = None
    try:
        metadata = _metadata({name: record.values.get(name) for name in source.keep})
    except RecursionError:
        fault = fault or ("source:bad_value", "a column to keep is nested too deep")
    return RawRow(
        index=index,
        source_id=None if identifier is None else clean_text(str(identifier)),
        values=values,
        fault=fault,
        metadata_json=metadata if source.keep else None,
        raw_sha256=record.raw_sha256,
    )


def _take_picture(
    value: Any, root: str | None, allow_http: bool
) -> tuple[PictureRef | None, tuple[str, str] | None]:
    try:
        return read_reference(value, root=root, allow_http=allow_http), None
    except PictureRejected as error:
        known = None if value is None else PictureRef(raw_sha256=raw_sha256(value))
        return known, (error.reason, clean_text(error.detail))


def _take_text(value: Any) -> tuple[str | None, tuple[str, str] | None]:
    if value is None:
        return None, ("source:missing_value", "no value")
    if not isinstance(value, str):
        text = json.dumps(value, default=str)
        return text, ("text:not_text", f"a {type(value).__name__}: {text[:100]}")
    if not value.strip():
        return value, ("text:empty", "nothing but white space" if value else "no characters")
    if "\0" in value:
        return value, ("text:nul", f"a NUL at character {value.index(chr(0))}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        return value, ("text:invalid_utf8", f"not UTF-8 at character {error.start}")
    return value, None


def _metadata(kept: dict[str, Any]) -> str:
    return json.dumps(_json_value(kept), ensure_ascii=False)


def _json_value(value: Any) -> Any:
    """The value as strict JSON can hold it: no NaN, no bytes, no lone surrogate."""
    if isinstance(value, dict):
        return {clean_text(str(key)): _json_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if value is None or isinstance(value, bool | int):
        return value
    return clean_text(str(value))


def clean_text(text: str) -> str:
    """Text that UTF-8 can hold: lone surrogates become '?'."""
    return text.encode("utf-8", "replace").decode("utf-8")
