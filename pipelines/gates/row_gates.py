"""The gates that look at one row at a time, in the order in which a dataset row meets them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.gates.agreement import find_disagreement
from pipelines.gates.contradictions import find_contradiction
from pipelines.gates.degenerate import find_degenerate
from pipelines.gates.leaks import find_leak
from pipelines.recipe import Gates
from pipelines.rendering import render_checklist


def first_fault(row: dict[str, Any], gates: Gates) -> tuple[str, str] | None:
    """Reason (`gate:leak`) and detail of the first gate that rejects a row of `dataset/`."""
    return next(_faults(row, gates), None)


def _faults(row: dict[str, Any], gates: Gates) -> Iterator[tuple[str, str]]:
    axis = row.get("axis")
    hidden = render_checklist(row["checklist"]) if axis is None else row["report"]
    visible = row["prompt"] if axis is None else row["instruction"]
    reasoning = row["reasoning"]
    found = {
        "leak": gates.leak and find_leak(reasoning, hidden=hidden, visible=visible),
        "degenerate": gates.degenerate and find_degenerate(reasoning, visible=visible),
        "contradiction": gates.contradiction and find_contradiction(row),
        "agreement": find_disagreement(
            vote_spread=row["vote_spread"],
            score_probs=row["score_probs"],
            most_spread=gates.most_vote_spread,
            most_entropy=gates.most_entropy,
        ),
    }
    yield from ((f"gate:{name}", detail) for name, detail in found.items() if detail)
