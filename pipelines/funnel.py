"""The funnel of a build: how many rows came in, what became of them, and why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.shards import shard_paths


def count_funnel(
    build: Path, tables: tuple[str, ...], digests: dict[str, list[str]]
) -> dict[str, Any]:
    """Counts for the manifest and for a person, from the files on disk.

    `rows`: source rows by status and rejection reason. One entry a table of answers: answers under
    the current recipe by status and reason, with the attempts and tokens they took. `rejects`: by
    reason, in dataset rows. `digests` names the stage digests of the current recipe a table.
    """
    rows = _scan(build / "rows", ["status", "reason"])
    funnel: dict[str, Any] = {"rows": _by_status(rows)}
    columns = ["answer_id", "stage_digest", "status", "reason", "attempts"]
    columns += ["prompt_tokens", "completion_tokens"]
    for table in tables:
        found = _scan(build / table, columns)
        found = found.filter(pl.col("stage_digest").is_in(digests[table]))
        found = found.unique("answer_id", keep="last", maintain_order=True)
        funnel[table] = _by_status(found) | {
            name: int(found[name].cast(pl.Int64).sum() or 0)
            for name in ("attempts", "prompt_tokens", "completion_tokens")
        }
    files = sorted((build / "rejects").glob("*.parquet"))
    reasons = [pl.read_parquet(f, columns=["reason"])["reason"] for f in files]
    counted = Counter(pl.concat(reasons).to_list()) if reasons else Counter()
    funnel["rejects"] = dict(sorted(counted.items()))
    return funnel


def _scan(folder: Path, columns: list[str]) -> pl.DataFrame:
    frames = [pl.read_parquet(path, columns=columns) for path in shard_paths(folder)]
    if not frames:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    return pl.concat(frames)


def _by_status(frame: pl.DataFrame) -> dict[str, Any]:
    counts: dict[str, Any] = {"total": frame.height}
    for status in ("ok", "rejected", "duplicate"):
        counts[status] = frame.filter(pl.col("status") == status).height
    rejected = frame.filter(pl.col("status") == "rejected")
    counts["reasons"] = dict(sorted(Counter(rejected["reason"].to_list()).items()))
    return counts
