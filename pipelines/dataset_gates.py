"""Finished tables through the gates, bucket by bucket, before any row is chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.answers import Row
from pipelines.build import Kind
from pipelines.controls import CONTROL_SCHEMA, COUNTED, control_result
from pipelines.dataset_rows import (
    REJECT_SCHEMA,
    bucket_outcomes,
    gated_schema,
    make_reject,
    sort_outcomes,
)
from pipelines.funnel import add_answers
from pipelines.gates.build_gates import Gate
from pipelines.shards import ROWS_PER_GROUP
from pipelines.stages import Stage

_INDEX = {"bucket": pl.Int32, "row_id": pl.String, "split": pl.String, "axis": pl.String}


@dataclass(frozen=True, kw_only=True)
class Passed:
    """What came through the gates: an index of the rows in order, and what else was counted."""

    index: pl.DataFrame
    answers: dict[str, dict[str, Any]]
    controls: list[Row]
    rejects: int


def pass_gates(
    build: Path,
    kind: Kind,
    stages: Mapping[str, Stage],
    gate: Gate,
    fresh: Mapping[str, Path],
    control_share: float,
    *,
    n_buckets: int,
) -> Passed:
    """Every bucket through the gates: kept rows to `gated`, the others to `rejects`."""
    answers: dict[str, dict[str, Any]] = {}
    controls: list[Row] = []
    frames, n_rejects = [pl.DataFrame(schema={**_INDEX, "score": pl.Int64})], 0
    schema = gated_schema(kind)
    for bucket in range(n_buckets):
        found = bucket_outcomes(build, kind, bucket, stages, control_share=control_share)
        kept, rejects = sort_outcomes(kind, found.rows, found.outcomes)
        kept, gated = _through_gates(kept, gate)
        leaks = {row["answer_id"] for row in gated if row["reason"] == "gate:leak"}
        for table, some in found.used.items():
            answers[table] = add_answers(answers.get(table), some.values(), leaks)
        if kept:
            table = pa.Table.from_pylist(kept, schema=schema)
            pq.write_table(
                table,
                fresh["gated"] / bucket_file(bucket),
                compression="zstd",
                row_group_size=ROWS_PER_GROUP,
            )
        rows = [
            {**{name: row.get(name) for name in (*_INDEX, "score")}, "bucket": bucket}
            for row in kept
        ]
        frames.append(pl.DataFrame(rows, schema=frames[0].schema))
        results = [control_result(kind, outcome) for outcome in found.controls]
        if results:
            table = pa.Table.from_pylist(results, schema=CONTROL_SCHEMA)
            pq.write_table(table, fresh["controls"] / bucket_file(bucket), compression="zstd")
            controls += [{name: row[name] for name in COUNTED} for row in results]
        add_rejects(fresh["rejects"], bucket, rejects + gated)
        n_rejects += len(rejects) + len(gated)
    return Passed(index=pl.concat(frames), answers=answers, controls=controls, rejects=n_rejects)


def bucket_file(bucket: int) -> str:
    """The name of a bucket's file in `rejects/`, `controls/` and while rows are gated."""
    return f"{bucket:05d}.parquet"


def _through_gates(rows: list[Row], gate: Gate) -> tuple[list[Row], list[Row]]:
    """The rows of a bucket that every gate keeps, and rejects of the others."""
    kept, rejects = [], []
    answers: dict[str, str] = {}
    for row in rows:
        fault = gate(row)
        # Two rows that were rewritten to the same text are one: they have the same answer.
        if (
            fault is None
            and (other := answers.setdefault(row["answer_id"], row["row_id"])) != row["row_id"]
        ):
            fault = "gate:duplicate", f"the same as row {other} in pictures and text"
        if fault is None:
            kept.append(row)
        else:
            rejects.append(leave_out(row, "gates", *fault))
    return kept, rejects


def leave_out(row: Row, stage: str, reason: str, detail: str) -> Row:
    """The reject of a row that has a score."""
    # No faulty reply, but what was written: a person can tell by it how the gate decides.
    raw = json.dumps({"reasoning": row["reasoning"], "score": row["score"]})
    return make_reject(row, row["axis"], stage, {**row, "detail": detail, "raw_reply": raw}, reason)


def add_rejects(folder: Path, bucket: int, rejects: list[Row]) -> None:
    """Add rejects of a bucket to those that are in a folder already."""
    if not rejects:
        return
    path = folder / bucket_file(bucket)
    table = pa.Table.from_pylist(rejects, schema=REJECT_SCHEMA)
    if path.exists():
        table = pa.concat_tables([pq.read_table(path, schema=REJECT_SCHEMA), table])
    pq.write_table(table, path, compression="zstd")
