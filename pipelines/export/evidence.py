"""A judge's reasoning with what it rests on: the differences, or what was seen of each item.

The judge that labels sees a difference report or a checklist; a student that is to score without
either can be taught to write down first what they would have told. Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.export.conversations import ExportRefused
from pipelines.rendering import NO_DIFFERENCES
from schemas import load_schema

# What a row has for it; of an edit and of a generated picture.
EVIDENCE = ("obvious", "detailed", "verdicts")
_LONGEST: int = load_schema("judge_score.v1")["properties"]["reasoning"]["maxLength"]


def with_evidence(row: Mapping[str, Any]) -> str:
    """The row's reasoning, and before it a sentence for each difference, or each verdict.

    Of what does not fit into a reply's reasoning, met items go first, then those that come last.
    Raises ExportRefused for a row that has neither differences nor verdicts.
    """
    if row.get("verdicts") is not None:
        found = [(_of_verdict(one), one["verdict"] == "yes") for one in row["verdicts"]]
    elif row.get("obvious") is not None and row.get("detailed") is not None:
        found = [(_of_difference(one), False) for one in (*row["obvious"], *row["detailed"])]
        found = found or [(NO_DIFFERENCES, False)]
    else:
        raise ExportRefused(
            f"row {row['row_id']}: has neither differences nor verdicts to put before its reasoning"
        )
    return " ".join([*_fitting(found, _LONGEST - len(row["reasoning"])), row["reasoning"]])


def _fitting(found: Sequence[tuple[str, bool]], room: int) -> list[str]:
    """The sentences that have room, with a space after each; those that are marked give way."""
    kept = list(found)
    while kept and sum(len(text) + 1 for text, _ in kept) > room:
        marked = [place for place, (_, gives_way) in enumerate(kept) if gives_way]
        kept.pop(marked[-1] if marked else -1)
    return [text for text, _ in kept]


def _of_verdict(one: Mapping[str, str]) -> str:
    return f"{one['evidence'].strip().rstrip('.')} ({one['verdict']})."


def _of_difference(one: Mapping[str, str]) -> str:
    return f"{one['subject']}: {one['category']}, {one['before']} -> {one['after']}."
