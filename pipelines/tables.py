"""The tables of answers: their columns, and their shards on disk.

A table's folder holds for each bucket one shard a run that asked something: `00012-000.parquet`,
`00012-001.parquet`. Shards are only added; of two rows with one answer id the later stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.answers import Row
from pipelines.shards import read_shard, shard_paths, write_shard
from schemas import arrow_type, load_schema

PROVENANCE_COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("model", pa.string()),
    ("asked_model", pa.string()),
    ("revision", pa.string()),
    ("prompt_id", pa.string()),
    ("prompt_sha256", pa.string()),
    ("system_sha256", pa.string()),
    ("retry_sha256", pa.string()),
    ("schema_id", pa.string()),
    ("schema_sha256", pa.string()),
    ("sampling", pa.string()),
    ("attempts", pa.int32()),
    ("faults", pa.list_(pa.string())),
    ("finish_reason", pa.string()),
    ("prompt_tokens", pa.int64()),
    ("completion_tokens", pa.int64()),
    ("endpoint", pa.string()),
    ("answered_at", pa.float64()),
    ("took_s", pa.float64()),
    ("package_version", pa.string()),
    ("git_commit", pa.string()),
)
_OUTCOME: tuple[tuple[str, pa.DataType], ...] = (
    ("answer_id", pa.string()),
    ("stage_digest", pa.string()),
    ("status", pa.string()),
    ("reason", pa.string()),
    ("detail", pa.string()),
    ("raw_reply", pa.string()),
)
SCORE_COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("score_probs", pa.list_(pa.float64())),
    ("score_expected", pa.float64()),
    ("vote_scores", pa.list_(pa.int64())),
    ("vote_spread", pa.float64()),
    ("label_mass", pa.float64()),
)
# Of each reply asked for, in order: what it says, or the reason why it cannot be used.
ROLLOUTS = (
    "rollouts",
    pa.list_(
        pa.struct(
            [
                ("reasoning", pa.string()),
                ("score", pa.int64()),
                ("reason", pa.string()),
                ("fault", pa.string()),
            ]
        )
    ),
)
_PAIR = (
    "source_image_sha256",
    "edited_image_sha256",
    "source_image_seen_sha256",
    "edited_image_seen_sha256",
)
# The schema of a table's replies, and the columns (text) that say what an answer is about.
_TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "checklists": ("gen_checklist.v1", ("prompt",)),
    "gen_scores": (
        "gen_score.v1",
        ("prompt", "image_sha256", "image_seen_sha256", "checklist_id"),
    ),
    "rewrites": ("rewrite_instruction.v1", ("original", "mismatch")),
    "differences": ("edit_differences.v1", (*_PAIR, "report")),
    "edit_scores": ("edit_score.v1", (*_PAIR, "instruction", "axis", "differences_id")),
    "judge_edit_scores": ("judge_score.v1", (*_PAIR, "instruction", "axis")),
    "judge_gen_scores": ("judge_score.v1", ("prompt", "image_sha256", "image_seen_sha256")),
    "judge_pair_choices": (
        "judge_choice.v1",
        (
            "prompt",
            "first_image_sha256",
            "second_image_sha256",
            "first_image_seen_sha256",
            "second_image_seen_sha256",
        ),
    ),
    "edit_rollouts": ("judge_score.v1", (*_PAIR, "instruction", "axis")),
    "gen_rollouts": ("judge_score.v1", ("prompt", "image_sha256", "image_seen_sha256")),
    "comparisons": (
        "rationale_comparison.v1",
        ("rollouts_id", "first_rollout", "second_rollout"),
    ),
}
_KEEPS_EVERY_REPLY = frozenset({"edit_rollouts", "gen_rollouts"})


def output_columns(table: str) -> list[tuple[str, pa.DataType]]:
    """The columns that hold a table's replies, typed by its JSON Schema, and those of the votes."""
    if table in _KEEPS_EVERY_REPLY:
        return [ROLLOUTS]
    properties = load_schema(_TABLES[table][0])["properties"]
    columns = [(name, arrow_type(part)) for name, part in properties.items()]
    return columns + list(SCORE_COLUMNS) if "score" in properties else columns


def table_schema(table: str) -> pa.Schema:
    """The Arrow schema of a table of answers."""
    about = [(name, pa.string()) for name in _TABLES[table][1]]
    return pa.schema([*_OUTCOME, *about, *output_columns(table), *PROVENANCE_COLUMNS])


def read_answers(build: Path, table: str, bucket: int) -> dict[str, Row]:
    """All answers of a bucket by id, the latest of each. Raises ShardDamaged naming the file."""
    found: dict[str, Row] = {}
    for path in shard_paths(build / table, f"{bucket:05d}-*.parquet"):
        for row in read_shard(path).to_pylist():
            found[row["answer_id"]] = row
    return found


def has_answers(build: Path) -> bool:
    """Whether anything was answered for a build, be it in a journal still."""
    if any(shard_paths(build / table) for table in _TABLES):
        return True
    return any(path.stat().st_size for path in build.glob("journal/*/*.jsonl"))


def write_answers(build: Path, table: str, bucket: int, rows: Sequence[Row]) -> Path:
    """Add one shard with these rows to a bucket of a table. Returns its path."""
    folder = build / table
    # After the last one, not the number of them: one in the middle may have been deleted.
    parts = [int(p.stem.split("-")[1]) for p in shard_paths(folder, f"{bucket:05d}-*.parquet")]
    part = max(parts, default=-1) + 1
    path = folder / f"{bucket:05d}-{part:03d}.parquet"
    schema = table_schema(table)
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in schema.names}
    digests = sorted({row["stage_digest"] for row in rows})
    write_shard(
        path,
        pa.table(columns, schema=schema),
        {"table": table, "bucket": bucket, "stage_digests": digests},
    )
    return path
