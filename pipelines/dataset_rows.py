"""The rows of `dataset/` and `rejects/`: what became of each row of a bucket, from disk alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from pipelines.answers import Row
from pipelines.build import PICTURES, Kind
from pipelines.chains import run_chain
from pipelines.controls import rows_and_controls
from pipelines.gen_flow import Outcome
from pipelines.picture_table import PICTURE_TYPE
from pipelines.rendering import AXES
from pipelines.shard_run import ShardRun
from pipelines.stages import Stage
from pipelines.tables import PROVENANCE_COLUMNS, SCORE_COLUMNS, output_columns

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
UPSTREAM: Mapping[Kind, str] = {"gen": "checklists", "edit": "differences"}
# Null in a row of a source: the row it was rewritten from, how, and the answer that did it.
_REWRITE = ("parent_id", "rewrite", "rewrites_id")
SCORE_TABLES: Mapping[Kind, str] = {"gen": "gen_scores", "edit": "edit_scores"}
# A dataset is made to be given away: the address of a server stays in the tables.
_PROVENANCE = tuple(column for column in PROVENANCE_COLUMNS if column[0] != "endpoint")
_ABOUT = (
    "source",
    "source_index",
    "source_id",
    "prompt",
    "instruction",
    "parent_id",
    "rewrite",
    "metadata",
)
REJECT_SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("axis", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("raw_reply", pa.string()),
        ("attempts", pa.int32()),
        ("faults", pa.list_(pa.string())),
        ("answer_id", pa.string()),
        ("source", pa.string()),
        ("source_index", pa.int64()),
        ("source_id", pa.string()),
        ("prompt", pa.string()),
        ("instruction", pa.string()),
        ("parent_id", pa.string()),
        ("rewrite", pa.string()),
        ("metadata", pa.string()),
    ]
)


def dataset_schema(kind: Kind) -> pa.Schema:
    """Arrow schema of `dataset/`, with the `datasets` features in its metadata."""
    texts = ["prompt"] if kind == "gen" else ["instruction", "axis", *_REWRITE]
    upstream = [
        (f"{UPSTREAM[kind]}_{name}", dtype)
        for name, dtype in (("answer_id", pa.string()), *_PROVENANCE)
    ]
    inherited = output_columns(UPSTREAM[kind])
    if kind == "edit":
        inherited = [*inherited, ("report", pa.string())]
    else:
        inherited = [("checklist", inherited[0][1])]
    schema = pa.schema(
        [
            ("row_id", pa.string()),
            *((name, IMAGE) for name in PICTURES[kind]),
            *((name, pa.string()) for name in texts),
            *(c for c in output_columns(SCORE_TABLES[kind]) if c not in SCORE_COLUMNS),
            *SCORE_COLUMNS,
            *inherited,
            *((f"{name}_sha256", pa.string()) for name in PICTURES[kind]),
            *((f"{name}_seen_sha256", pa.string()) for name in PICTURES[kind]),
            ("notes", pa.list_(pa.string())),
            ("source", pa.string()),
            ("source_index", pa.int64()),
            ("source_id", pa.string()),
            ("license", pa.string()),
            ("metadata", pa.string()),
            ("answer_id", pa.string()),
            *_PROVENANCE,
            *upstream,
        ]
    )
    return _with_image_features(schema, PICTURES[kind])


def gated_schema(kind: Kind) -> pa.Schema:
    """Arrow schema of rows that wait for balance: those of `dataset/`, pictures not yet in them."""
    fields = {f.name: f for f in dataset_schema(kind)}
    fields |= {name: pa.field(name, PICTURE_TYPE) for name in PICTURES[kind]}
    fields |= {name: pa.field(name, pa.string()) for name in ("split", "axis")}
    return pa.schema(fields.values())


def _with_image_features(schema: pa.Schema, pictures: tuple[str, ...]) -> pa.Schema:
    from datasets import Features, Image

    plain = pa.schema([f for f in schema if f.name not in pictures])
    features = {**Features.from_arrow_schema(plain), **{name: Image() for name in pictures}}
    ordered = Features({name: features[name] for name in schema.names})
    return schema.with_metadata(ordered.arrow_schema.metadata)


class Found(NamedTuple):
    """A bucket as it ended: its rows, what became of each, the answers that rests on by table and
    id, and what became of its control rows.
    """

    rows: list[Row]
    outcomes: list[Outcome]
    used: dict[str, dict[str, Row]]
    controls: list[Outcome]


def bucket_outcomes(
    build: Path,
    kind: Kind,
    bucket: int,
    stages: Mapping[str, Stage],
    *,
    control_share: float = 0.0,
) -> Found:
    """What became of a bucket.

    From disk alone: it is the chain that made the answers, run with nobody to ask, so no second
    rule says which answer belongs to which row. Raises NotAsked when one is missing.
    """
    used: dict[str, dict[str, Row]] = {stage.table: {} for stage in stages.values()}
    counted = True

    def note(stage: Stage, row: Row, asked: bool) -> None:
        if counted:
            used[stage.table][row["answer_id"]] = row

    rows, controls = rows_and_controls(build, kind, bucket, control_share)
    run = ShardRun(build, bucket, stages, chat_of=None, on_answer=note)
    outcomes = asyncio.run(run_chain(kind, rows, run, at_once=1))
    counted = False
    of_controls = asyncio.run(run_chain(kind, controls, run, at_once=1))
    return Found(rows, outcomes, used, of_controls)


def _dataset_row(kind: Kind, outcome: Outcome, score: Row) -> Row:
    row, upstream = outcome.row, outcome.upstream
    prefix = UPSTREAM[kind]
    inherited = (
        {"checklist": upstream["items"]}
        if kind == "gen"
        else {name: upstream[name] for name in ("obvious", "detailed", "report")}
    )
    hashes = {
        f"{name}_{what}": row[name][what]
        for name in PICTURES[kind]
        for what in ("sha256", "seen_sha256")
    }
    earlier = {f"{prefix}_{name}": upstream.get(name) for name, _ in _PROVENANCE}
    return {
        **row,
        **score,
        **inherited,
        **hashes,
        **earlier,
        f"{prefix}_answer_id": upstream["answer_id"],
        "axis": outcome.axis,
    }


def make_reject(row: Row, axis: str | None, stage: str, found: Row | None, reason: str) -> Row:
    """A row of `rejects/`: which row, where and why it left, and what was found."""
    found = found or {}
    about = {name: row.get(name) for name in _ABOUT}
    keys = ("detail", "raw_reply", "attempts", "faults", "answer_id")
    return {
        "row_id": row["row_id"],
        "axis": axis,
        "stage": stage,
        "reason": reason,
        **{name: found.get(name) for name in keys},
        **about,
    }


def sort_outcomes(
    kind: Kind, rows: list[Row], outcomes: list[Outcome]
) -> tuple[list[Row], list[Row]]:
    """Split a bucket into dataset rows and rejects; duplicates stay in `rows/` alone."""
    kept, rejects = [], []
    axes = AXES if kind == "edit" else (None,)
    for row in rows:
        if row["status"] == "rejected":
            rejects += [make_reject(row, axis, "rows", row, row["reason"]) for axis in axes]
    for outcome in sorted(outcomes, key=lambda o: (o.row["order"], axes.index(o.axis))):
        if outcome.score is None:
            stage = outcome.upstream_table
            rejects.append(
                make_reject(outcome.row, outcome.axis, stage, outcome.upstream, f"upstream:{stage}")
            )
        elif outcome.score["status"] != "ok":
            stage, reason = SCORE_TABLES[kind], outcome.score["reason"]
            rejects.append(make_reject(outcome.row, outcome.axis, stage, outcome.score, reason))
        else:
            kept.append(_dataset_row(kind, outcome, outcome.score))
    return kept, rejects
