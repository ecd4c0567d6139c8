"""What is wrong with a source as a whole, found before anything starts."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from pipelines.recipe import Recipe
from pipelines.settings import Source
from pipelines.source_datasets import dataset_count, dataset_types, open_dataset
from pipelines.source_files import (
    SAMPLE_ROWS,
    Record,
    SourceError,
    is_picture,
    is_text,
    jsonl_records,
    parquet_types,
    source_paths,
)

PICTURE_COLUMNS = frozenset({"image", "source_image", "edited_image"})


def check_sources(recipe: Recipe) -> None:
    """Open every source and benchmark and look at its columns and first rows.

    Nothing is asked of any network but the Hub, and that only for a source that streams from it.

    Raises: SourceError naming file and column: missing, of the wrong type, or no row at all.
    """
    sources = [(source, recipe.columns_needed()) for source in recipe.sources]
    sources += [(source, columns_of(source)) for source in recipe.gates.benchmarks]
    for source, needed in sources:
        if source.image_root is not None and not os.path.isdir(source.image_root):
            raise SourceError(f"{source.image_root}: image_root is not a folder")
        if source.kind == "parquet":
            _check_parquet(source, needed)
        elif source.kind == "datasets":
            opened = open_dataset(source)
            types = dataset_types(source, opened)
            if not types or dataset_count(source, opened) == 0:
                raise SourceError(f"{source.path}: no rows")
            columns = column_map(source, needed, types, source.path)
            _check_types(source, columns, types, source.path)
        else:
            _check_jsonl(source, needed)


def columns_of(benchmark: Source) -> tuple[str, ...]:
    """Our names of the columns that a benchmark has: those that it maps."""
    return tuple(name for name in benchmark.columns if name != "id")


def _check_parquet(source: Source, needed: Sequence[str]) -> None:
    rows = 0
    for file in source_paths(source):
        types, count = parquet_types(file)
        _check_types(source, column_map(source, needed, types, file), types, file)
        rows += count
    if rows == 0:
        raise SourceError(f"{source.path}: no rows")


def _check_types(
    source: Source, columns: dict[str, str], types: dict[str, Any], file: object
) -> None:
    for ours, theirs in columns.items():
        type_: pa.DataType | None = types[theirs]
        if ours == "id" or type_ is None:
            continue
        fits = is_picture(type_) if ours in PICTURE_COLUMNS else is_text(type_)
        if not fits:
            wanted = "bytes, paths or Image structs" if ours in PICTURE_COLUMNS else "text"
            raise SourceError(f"{file}: column '{theirs}' is {type_}, but {ours} must be {wanted}")


def _check_jsonl(source: Source, needed: Sequence[str]) -> None:
    empty = True
    for file in source_paths(source):
        sample = list(islice(jsonl_records(file), SAMPLE_ROWS))
        if not sample:
            continue
        empty = False
        readable = [record for record in sample if record.fault is None]
        if not readable:
            raise SourceError(f"{file}: not JSON lines: {(sample[0].fault or ('', ''))[1]}")
        columns = column_map(source, needed, column_names(sample), file)
        for ours in needed:
            values = [record.values.get(columns[ours]) for record in readable]
            given = [value for value in values if value is not None]
            right = (str, dict) if ours in PICTURE_COLUMNS else str
            if given and not any(isinstance(value, right) for value in given):
                found = type(given[0]).__name__
                raise SourceError(f"{file}: column '{columns[ours]}' is {found}, not text")
    if empty:
        raise SourceError(f"{source.path}: no rows")


def column_names(sample: Sequence[Record]) -> dict[str, None]:
    """Names that occur in a sample of records, in order."""
    return dict.fromkeys(name for record in sample for name in record.values)


def column_map(
    source: Source,
    needed: Sequence[str],
    available: Collection[str],
    file: object,
    *,
    strict: bool = True,
) -> dict[str, str]:
    """Our column names to the source's. Raises SourceError for one that is not there."""
    columns = {}
    for ours in needed:
        theirs = source.columns.get(ours)
        if theirs is None:
            theirs = ours
            if source.kind == "imagefolder" and ours not in available:
                # The names that `datasets` gives a meaning to in metadata.jsonl.
                options = (f"{ours}_file_name", *(("file_name",) if ours == "image" else ()))
                theirs = next((name for name in options if name in available), ours)
        columns[ours] = theirs
    if "id" in source.columns or "id" in available:
        columns["id"] = source.columns.get("id", "id")
    missing = [name for name in (*columns.values(), *source.keep) if name not in available]
    if missing and strict:
        raise SourceError(f"{file}: no column '{missing[0]}'; there are {sorted(available)}")
    return columns
