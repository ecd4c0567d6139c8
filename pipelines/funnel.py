"""The funnel of a build: how many rows came in, what became of them, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.answers import Row
from pipelines.build import Kind
from pipelines.dataset_reading import read_columns
from pipelines.dataset_rows import SCORE_TABLES
from pipelines.shards import shard_paths

_SUMS = ("attempts", "prompt_tokens", "completion_tokens")


def count_funnel(build: Path, answers: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Counts for the manifest and for a person.

    `rows`: rows by status and rejection reason, the `rewritten` ones included. One entry a table of
    answers: those that the present dataset rests on, as `add_answers` counted them. `rejects`: by
    reason, in dataset rows.
    """
    paths = shard_paths(build / "rows")
    schema = {"status": pl.String, "reason": pl.String, "rewrite": pl.String}
    # Generated pictures have no `rewrite`.
    frames = [
        pl.read_parquet(path, columns=[n for n in schema if n in pl.read_parquet_schema(path)])
        for path in paths
    ]
    rows = pl.concat([pl.DataFrame(schema=schema), *frames], how="diagonal")
    counts = Counter(rows["status"].to_list())
    rejected = rows.filter(pl.col("status") == "rejected")["reason"]
    funnel: dict[str, Any] = {
        "rows": {
            "total": rows.height,
            **{status: counts[status] for status in ("ok", "rejected", "duplicate")},
            "rewritten": rows["rewrite"].count(),
            "reasons": dict(sorted(Counter(rejected.to_list()).items())),
        },
        **answers,
    }
    files = sorted((build / "rejects").glob("*.parquet"))
    reasons = [pl.read_parquet(f, columns=["reason"])["reason"] for f in files]
    found = Counter(pl.concat(reasons).to_list()) if reasons else Counter()
    funnel["rejects"] = dict(sorted(found.items()))
    return funnel


def add_answers(
    counts: dict[str, Any] | None, answers: Iterable[Row], leaks: Collection[str] = ()
) -> dict[str, Any]:
    """Counts with these answers of one table added: by status and rejection reason, with the
    attempts and tokens they took.

    `leaks` are the ids of those that the leak gate rejected. `leaked` counts those and the answers
    that were asked again for a leak; `leaked_to_the_end` the former alone.
    """
    counts = counts or {
        "total": 0,
        "ok": 0,
        "rejected": 0,
        "reasons": {},
        **dict.fromkeys((*_SUMS, "leaked", "leaked_to_the_end"), 0),
    }
    for row in answers:
        counts["total"] += 1
        counts[row["status"]] += 1
        for name in _SUMS:
            counts[name] += row[name] or 0
        still_leaks = row["answer_id"] in leaks
        counts["leaked"] += still_leaks or any(
            fault.startswith("reply:leak") for fault in row["faults"] or ()
        )
        counts["leaked_to_the_end"] += still_leaks
        if row["reason"]:
            counts["reasons"][row["reason"]] = counts["reasons"].get(row["reason"], 0) + 1
    return counts


def tell_leaks(funnel: Mapping[str, Any], kind: Kind) -> str | None:
    """How many of the scores asked for first came with a leak, and how many of those were rejected
    for it, as a sentence; None of a build that was made before this was counted.
    """
    counts = funnel.get(SCORE_TABLES[kind], {})
    if "leaked" not in counts:
        return None
    total, leaked = counts["total"], counts["leaked"]
    if not leaked:
        return f"None of {total:,} scores asked for came with a leak."
    return (
        f"{leaked:,} of {total:,} scores asked for ({100 * leaked / total:.1f}%) first came with a "
        f"leak; rejected for it in the end: {counts['leaked_to_the_end']:,}."
    )


def count_rejects(build: Path) -> Counter[tuple[str, str]]:
    """Rejects by stage and reason, in dataset rows. Raises DatasetUnreadable naming the file."""
    counts: Counter[tuple[str, str]] = Counter()
    for path in sorted((build / "rejects").glob("*.parquet")):
        counts.update(pl.DataFrame(read_columns(path, ["stage", "reason"])).iter_rows())
    return counts


def funnel_steps(
    manifest: Mapping[str, Any], rejects: Mapping[tuple[str, str], int]
) -> list[dict[str, Any]]:
    """The way from source rows to the dataset, as steps that each lose some.

    `rejects` is by stage and reason. Each step has its `name`, the rows `lost` in it, `left` after
    it, and what was lost by reason; all in dataset rows (an edit counts once an axis).
    """
    law, asked = manifest["law"], [t for t in manifest["funnel"] if t not in ("rows", "rejects")]
    lost: dict[str, dict[str, int]] = {
        name: {} for name in ("rows", "duplicates", *asked, "gates", "pictures", "balance")
    }
    if law["duplicates"]:
        lost["duplicates"] = {"duplicate": law["duplicates"]}
    for (stage, reason), n in sorted(rejects.items()):
        kind, _, table = reason.partition(":")
        name = {"gate": "gates", "balance": "balance", "upstream": table}.get(kind, stage)
        # A picture that went or changed after its row was read.
        name = "pictures" if kind == "picture" and stage in ("gates", "dataset") else name
        lost.setdefault(name, {})[reason] = n
    left = law["source"]
    steps = []
    for name, reasons in lost.items():
        left -= sum(reasons.values())
        steps.append({"name": name, "lost": sum(reasons.values()), "left": left, "why": reasons})
    return steps
