"""The gates that look at one row at a time, in the order in which a dataset row meets them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.dataset_settings import Gates
from pipelines.gates.agreement import find_disagreement
from pipelines.gates.contradictions import find_contradiction
from pipelines.gates.degenerate import find_degenerate
from pipelines.gates.grounding import find_ungrounded
from pipelines.gates.leaks import find_leak
from pipelines.rendering import render_checklist


def first_fault(row: dict[str, Any], gates: Gates) -> tuple[str, str] | None:
    """Reason (`gate:leak`) and detail of the first gate that rejects a row of `dataset/`."""
    return next(_faults(row, gates), None)


def _faults(row: dict[str, Any], gates: Gates) -> Iterator[tuple[str, str]]:
    is_edit = row.get("axis") is not None
    hidden = row["report"] if is_edit else render_checklist(row["checklist"])
    visible = row["instruction"] if is_edit else row["prompt"]
    reasoning = row["reasoning"]
    if gates.leak and (found := find_leak(reasoning, hidden=hidden, visible=visible)):
        yield "gate:leak", found
    if gates.degenerate and (found := find_degenerate(reasoning, visible=visible)):
        yield "gate:degenerate", found
    if gates.contradiction and (found := find_contradiction(row)):
        yield "gate:contradiction", found
    if found := find_disagreement(
        vote_spread=row["vote_spread"],
        score_probs=row["score_probs"],
        most_spread=gates.most_vote_spread,
        most_entropy=gates.most_entropy,
    ):
        yield "gate:agreement", found
    # Last: it may read pictures.
    if is_edit and gates.grounding:
        try:
            if found := find_ungrounded(row, most_unreported=gates.most_unreported):
                yield "gate:grounding", found
        except OSError as error:
            yield "picture:vanished", f"{error}; put the picture back and run again"
