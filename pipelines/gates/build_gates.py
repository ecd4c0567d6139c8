"""All gates of a build, in one line: those that look at a row, then what it resembles."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.build import Kind
from pipelines.gates.contamination import Benchmarks, make_lookup
from pipelines.gates.duplicates import NearRows, find_near_rows, normalise_text
from pipelines.gates.row_gates import first_fault
from pipelines.recipe import Gates
from pipelines.shards import shard_paths
from pipelines.sources import PICTURE_COLUMNS


def make_judge(
    near: NearRows, benchmarks: Benchmarks, gates: Gates
) -> Callable[[dict[str, Any]], tuple[str, str] | None]:
    """A function that tells of a dataset row why it may not stand, as reason and detail, or None.

    It must be given all rows in the order of the dataset: of rows that are near to each other, on
    one axis, the first that passes the other gates stands.
    """
    lookup = make_lookup(benchmarks, most_bits=gates.most_bits, most_colour=gates.most_colour)
    watched = set(chain.from_iterable(near.earlier.values()))
    standing: set[tuple[str, str | None]] = set()

    def judge(row: dict[str, Any]) -> tuple[str, str] | None:
        fault = first_fault(row, gates)
        if fault is not None:
            return fault
        match = lookup(row)
        if match is not None:
            return "gate:contamination", f"{match.what} of item {match.item} of {match.benchmark}"
        for other in near.earlier.get(row["row_id"], ()):
            if (other, row["axis"]) in standing:
                return "gate:duplicate", f"nearly the same as row {other}"
        if row["row_id"] in watched:
            standing.add((row["row_id"], row["axis"]))
        return None

    return judge


def near_rows_of(build: Path, kind: Kind, gates: Gates) -> NearRows:
    """Which rows of `rows/` are near to earlier ones, in the order of the dataset."""
    if not gates.duplicate:
        return NearRows(earlier={}, capped=0)
    text = "prompt" if kind == "gen" else "instruction"
    shards = [pl.read_parquet(path) for path in shard_paths(build / "rows")]
    roles = [name for name in shards[0].columns if name in PICTURE_COLUMNS]
    hashes = [
        pl.col(role).struct.field(name).alias(f"{role}_{name}")
        for role in roles
        for name in ("phash", "colour")
    ]
    rows = pl.concat(
        shard.filter(pl.col("status") == "ok").select("row_id", pl.col(text).alias("text"), *hashes)
        for shard in shards
    ).drop_nulls()
    normalised = rows["text"].map_elements(normalise_text, return_dtype=pl.String)
    return find_near_rows(
        rows.with_columns(text=normalised),
        roles,
        most_bits=gates.most_bits,
        most_colour=gates.most_colour,
    )
