"""All gates of a build, in one line: those that look at a row, then what it resembles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.build import Kind
from pipelines.dataset_settings import Gates
from pipelines.gates.contamination import Benchmarks, make_lookup
from pipelines.gates.duplicates import NOTHING_NEAR, NearRows, find_near_rows
from pipelines.gates.row_gates import first_fault
from pipelines.gates.words import normalise_text
from pipelines.shards import shard_paths

Gate = Callable[[dict[str, Any]], tuple[str, str] | None]


def make_gate(
    near: NearRows, benchmarks: Benchmarks, gates: Gates, matches: list[dict[str, Any]]
) -> Gate:
    """A function that tells of a dataset row why it may not stand, as reason and detail, or None.

    It must be given all rows in the order of the dataset: of rows that are near to each other and
    have one score on one axis, the first that passes the other gates stands. What a row matches of
    each benchmark is added to `matches`, also where another gate rejects it first.
    """
    lookup = make_lookup(benchmarks, most_bits=gates.most_bits, most_colour=gates.most_colour)
    standing: dict[tuple[int, str | None, int, str | None], str] = {}

    def gate(row: dict[str, Any]) -> tuple[str, str] | None:
        found = lookup(row)
        about = {"row_id": row["row_id"], "axis": row["axis"]}
        matches.extend(about | asdict(match) for match in found)
        fault = first_fault(row, gates)
        if fault is not None:
            return fault
        if found:
            match = found[0]
            return "gate:contamination", f"{match.what} of item {match.item} of {match.benchmark}"
        ours = near.sets.get(row["row_id"])
        if ours is None:
            return None
        # Rewritten rows of one set had one text; what they were rewritten to may differ.
        text = normalise_text(row["instruction"]) if row.get("rewrite") else None
        for one in sorted(near.near[ours]):
            other = standing.get((one, row["axis"], row["score"], text))
            if other is not None:
                return "gate:duplicate", f"nearly the same as row {other}, and scored the same"
        standing[ours, row["axis"], row["score"], text] = row["row_id"]
        return None

    return gate


def near_rows_of(build: Path, kind: Kind, gates: Gates) -> NearRows:
    """Which rows of `rows/` are near to each other."""
    if not gates.duplicate:
        return NOTHING_NEAR
    text = pl.col("prompt") if kind == "gen" else pl.col("instruction")
    if kind == "edit":
        # A rewritten row still has its parent's instruction here.
        text = pl.concat_str(text, pl.col("rewrite").fill_null(""), separator="\n")
    columns = ["row_id", "status", *(["prompt"] if kind == "gen" else ["instruction", "rewrite"])]
    roles = ("image",) if kind == "gen" else ("source_image", "edited_image")
    hashes = [
        pl.col(role).struct.field(name).alias(f"{role}_{name}")
        for role in roles
        for name in ("phash", "colour")
    ]
    shards = (
        pl.read_parquet(path, columns=[*columns, *roles])
        .filter(pl.col("status") == "ok")
        .select("row_id", text.alias("text"), *hashes)
        for path in shard_paths(build / "rows")
    )
    rows = pl.concat(shards).drop_nulls()
    normalised = rows["text"].map_elements(normalise_text, return_dtype=pl.String)
    return find_near_rows(
        rows.with_columns(text=normalised),
        roles,
        most_bits=gates.most_bits,
        most_colour=gates.most_colour,
    )
