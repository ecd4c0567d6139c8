"""Faults planted in difference reports: of no change where there is one, of changes where none is.

A score is about the report that its judge read, so that the scores beside a planted report are
filed anew, under the identity that they have with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from foundry.evals.planting import INVENTED, SHARE, TABLE, UNEDITED, place
from pipelines.answers import Row
from pipelines.dataset_settings import Gates
from pipelines.edit_flow import score_contents
from pipelines.gates.grounding import changed_share
from pipelines.gen_flow import Outcome
from pipelines.identity import answer_id
from pipelines.rendering import NO_DIFFERENCES
from pipelines.tables import output_columns, write_answers

AGAINST_SCORE = "no change reported, against the score"
AGAINST_PIXELS = "no change reported, against the pixels"
# Few edits change most of the picture: a report is emptied that much oftener where one does.
_OFTENER = 20
_EMPTY: dict[str, Any] = {"obvious": [], "detailed": [], "report": NO_DIFFERENCES}
_REPORTED = tuple(_EMPTY)
_SCORED = tuple(name for name, _ in output_columns(TABLE["edit"]))
Planted = dict[tuple[str, str | None], tuple[str | None, bool]]


def plant_in_reports(
    build: Path, outcomes: Sequence[Outcome], row_faults: Mapping[str, str]
) -> Planted:
    """Empty some reports, and put that of the real edit beside an edit that was not made.

    Works on the edits of bucket 0. Returns by source id and axis the fault, and whether it can be
    told from the row alone: an emptied report by a score that speaks of changes, else where more of
    the picture changed than the grounding gate allows. A row that was to have an invented report
    has None where there was none to be had.
    """
    rows: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        rows.setdefault(outcome.row["source_id"], []).append(outcome)
    faults: Planted = {}
    differences: list[Row] = []
    scores: list[Row] = []
    for source_id, some in rows.items():
        if row_faults.get(source_id) == INVENTED:
            real = rows[source_id.removesuffix(UNEDITED)]
            planted = _answered(some) and _answered(real) and _reports_changes(real)
            faults |= {(source_id, o.axis): (INVENTED if planted else None, True) for o in some}
            if planted:
                report = {name: real[0].upstream[name] for name in _REPORTED}
                replies = [{name: (o.score or {}).get(name) for name in _SCORED} for o in real]
                differences.append({**some[0].upstream, **report})
                scores += map(_filed_anew, some, [report["report"]] * len(some), replies)
        elif source_id not in row_faults and _answered(some) and _reports_changes(some):
            drawn = place(source_id, "emptied report") / SHARE
            large = drawn < _OFTENER and _is_large(some[0].row)
            if drawn < 1 or large:
                faults |= {(source_id, o.axis): _emptied(o, large) for o in some}
                differences.append({**some[0].upstream, **_EMPTY})
                scores += [_filed_anew(o, NO_DIFFERENCES, {}) for o in some]
    write_answers(build, "differences", 0, differences)
    write_answers(build, TABLE["edit"], 0, scores)
    return faults


def _answered(outcomes: Sequence[Outcome]) -> bool:
    return all(o.score is not None and o.score["status"] == "ok" for o in outcomes)


def _reports_changes(outcomes: Sequence[Outcome]) -> bool:
    return outcomes[0].upstream["report"] != NO_DIFFERENCES


def _is_large(row: Row) -> bool:
    paths = (row[side]["seen_path"] for side in ("source_image", "edited_image"))
    with Image.open(next(paths)) as source, Image.open(next(paths)) as edited:
        return changed_share(source, edited) > Gates().most_unreported


def _emptied(outcome: Outcome, large: bool) -> tuple[str, bool]:
    score = (outcome.score or {})["score"]
    if score >= 4 if outcome.axis == "execution" else score <= 2:
        return AGAINST_SCORE, True
    return AGAINST_PIXELS, large


def _filed_anew(outcome: Outcome, report: str, reply: Row) -> Row:
    score = {**(outcome.score or {}), **reply}
    identity = answer_id(score["stage_digest"], score_contents(outcome.row, report))
    return {**score, "answer_id": identity}
