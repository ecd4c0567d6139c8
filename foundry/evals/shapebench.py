"""ShapeBench: how near a judge comes to true scores, asked in the factory's ways.

Edits and generated pictures of ShapeWorld; in half of the groups things may also have combinations
of shape and colour that the bundled judge never saw in training. Every way of asking gets the same
rows:

direct               pictures and text, reasoning, score (the student's prompt)
difference first     the difference report, then reasoning and score with it in sight
plan then score      the checklist, then a verdict an item, reasoning, score

each with one greedy reply and with 4 votes at temperature 0.7.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from foundry.evals.bench import Item, Rows
from foundry.evals.stages import AnyRecipe, benchmark_recipe, run_student, run_teacher
from foundry.shapeworld.make import write_world
from foundry.shapeworld.rows import MEASURED_BY_SHAPEBENCH, ROWS_A_GROUP, Kind
from pipelines.connecting import Servers
from pipelines.dataset_settings import EDIT_COLUMNS, GEN_COLUMNS
from pipelines.rendering import AXES, GEN_AXIS
from pipelines.sources import PICTURE_COLUMNS

VOTES = (1, 4)
Recipes = dict[tuple[Kind, int], AnyRecipe]
KINDS: tuple[Kind, ...] = ("edit", "gen")
TEACHERS = {"edit": "difference first", "gen": "plan then score"}
AXES_OF = {"edit": AXES, "gen": ("gen",)}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What an answer took: tokens read and written, those of refused replies too, and whether
    a reply was refused.
    """

    prompt_tokens: int
    reply_tokens: int
    asked_again: bool


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One score that a judge gave, or did not: `score` and `expected` are None when rejected.

    `expected` is the mean score under the label probabilities, None where the server gives none.
    `cost` is None where the judge was not asked, its report or checklist having been rejected.
    """

    mode: str
    votes: int
    axis: str
    row: str
    group: str
    unseen: bool
    true: int
    score: int | None
    expected: float | None
    reason: str | None
    cost: Cost | None


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The items that a judge listed about a pair or prompt, beside the true ones.

    `kind` is differences or checklist; `given` is None where the reply was rejected.
    """

    kind: str
    group: str
    given: list[dict[str, Any]] | None
    true: list[dict[str, Any]]
    cost: Cost | None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The verdicts on one picture: the judge's checklist with its verdicts, and the true one."""

    group: str
    given: list[dict[str, Any]]
    true: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All that a judge answered."""

    predictions: list[Prediction]
    listed: list[Listed]
    judged: list[Judged]


def write_rows(folder: Path, rows: int) -> dict[str, dict[str, Any]]:
    """Write the benchmark's rows, half of them edits. Returns their truth by kind and row id."""
    truth: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        truth[kind] = {}
        for unseen in (False, True):
            # Whole groups, so that asking once a group is measured as it is used.
            group = ROWS_A_GROUP[kind]
            count = max(1, round(rows / 4 / group)) * group
            out = folder / f"{kind}{'-unseen' if unseen else ''}"
            # Anew each time: what an earlier run left may be cut short, or of an older world. The
            # same rows have the same pictures, so that no answer is asked for again.
            write_world(kind, count, MEASURED_BY_SHAPEBENCH, out, unseen=unseen)
            for row in pq.read_table(out / "truth.parquet").to_pylist():
                truth[kind][row["id"]] = row
    return truth


def make_recipes(folder: Path, *, rows: int, endpoint: dict[str, Any]) -> Recipes:
    """What will be asked, by kind and number of votes.

    Raises pydantic's ValidationError for an endpoint that is none.
    """
    sources = {
        kind: [
            {"kind": "jsonl", "path": str(_world(folder, rows) / f"{kind}{part}" / "rows.jsonl")}
            for part in ("", "-unseen")
        ]
        for kind in KINDS
    }
    return {
        (kind, votes): benchmark_recipe(kind, folder / kind, sources[kind], endpoint, votes=votes)
        for kind in KINDS
        for votes in VOTES
    }


def _world(folder: Path, rows: int) -> Path:
    return folder / f"rows-{rows}"


def run_shapebench(
    folder: Path,
    recipes: Recipes,
    *,
    rows: int,
    servers: Servers,
    say: Callable[[str], None],
) -> Answers:
    """Ask a judge about everything in every way; what `folder` holds already is not asked again.

    `recipes` are those of `make_recipes` for the same folder and rows. Raises as `run_teacher`.
    """
    truth = write_rows(_world(folder, rows), rows)
    answers = Answers(predictions=[], listed=[], judged=[])
    for kind in KINDS:
        for votes in VOTES:
            recipe = recipes[kind, votes]
            title = f"{kind}, {votes} vote{'s' * (votes > 1)}"
            outcomes = run_teacher(recipe, servers=servers, say=say, title=f"{title}, method")
            scored = {
                (o.row["source_id"], o.axis or "gen"): o.score
                or {"status": "rejected", "reason": o.upstream["reason"]}
                for o in outcomes
            }
            answers.predictions.extend(_predictions(TEACHERS[kind], votes, scored, truth[kind]))
            if votes == 1:
                _add_lists(kind, outcomes, truth[kind], answers)
            direct = run_student(recipe, servers=servers, say=say, title=f"{title}, direct")
            scored = {(a.row["source_id"], a.axis or "gen"): a.score for a in direct}
            answers.predictions.extend(_predictions("direct", votes, scored, truth[kind]))
    return answers


def direct_rows(folder: Path, rows: int) -> dict[str, tuple[Rows, list[Item]]]:
    """The same rows, written anew, and their true scores as those of any benchmark, by kind."""
    world = _world(folder, rows).absolute()
    truth = write_rows(world, rows)
    found = {}
    for kind in KINDS:
        columns = GEN_COLUMNS if kind == "gen" else EDIT_COLUMNS
        by_id: dict[str, dict[str, str]] = {}
        for part in (kind, f"{kind}-unseen"):
            for line in (world / part / "rows.jsonl").read_text("utf-8").splitlines():
                row = json.loads(line)
                by_id[row["id"]] = {
                    name: f"{world}/{part}/{row[name]}" if name in PICTURE_COLUMNS else row[name]
                    for name in columns
                }
        items = [
            Item(
                id=f"{row_id}:{axis}",
                row=row_id,
                axis=axis,
                part="new combinations" if known["unseen"] else "known combinations",
                group=_group(row_id),
                true=known["score" if axis == GEN_AXIS else axis],
            )
            for row_id, known in truth[kind].items()
            for axis in AXES_OF[kind]
        ]
        places = {row_id: f"{world}: {row_id}" for row_id in by_id}
        found[kind] = Rows(kind=kind, by_id=by_id, places=places), items
    return found


def _predictions(
    mode: str, votes: int, scored: dict[tuple[str, str], dict[str, Any]], truth: dict[str, Any]
) -> list[Prediction]:
    """A prediction for every row and axis of the truth, whether it was scored or not."""
    predictions = []
    for row_id, known in truth.items():
        for axis in AXES_OF["gen" if "score" in known else "edit"]:
            answer = scored.get((row_id, axis), {"status": "rejected", "reason": "not asked"})
            ok = answer["status"] == "ok"
            predictions.append(
                Prediction(
                    mode=mode,
                    votes=votes,
                    axis=axis,
                    row=row_id,
                    group=_group(row_id),
                    unseen=known["unseen"],
                    true=known["score" if axis == "gen" else axis],
                    score=answer["score"] if ok else None,
                    expected=answer["score_expected"] if ok else None,
                    reason=answer["reason"],
                    cost=_cost(answer),
                )
            )
    return predictions


def _cost(answer: dict[str, Any]) -> Cost | None:
    if "attempts" not in answer:
        return None
    return Cost(
        prompt_tokens=answer["prompt_tokens"] or 0,
        reply_tokens=answer["completion_tokens"] or 0,
        asked_again=answer["attempts"] > 1,
    )


def _group(row_id: str) -> str:
    return row_id.rsplit("-", 1)[0]


def _add_lists(kind: str, outcomes: list[Any], truth: Any, answers: Answers) -> None:
    listed: dict[str, Listed] = {}
    for outcome in outcomes:
        row, upstream, known = outcome.row, outcome.upstream, truth[outcome.row["source_id"]]
        ok = upstream["status"] == "ok"
        group = _group(row["source_id"])
        if kind == "edit":
            given = upstream["obvious"] + upstream["detailed"] if ok else None
            listed[row["source_id"]] = Listed(
                kind="differences",
                group=group,
                given=given,
                true=known["differences"],
                cost=_cost(upstream),
            )
            continue
        given = upstream["items"] if ok else None
        listed[group] = Listed(
            kind="checklist",
            group=group,
            given=given,
            true=known["checklist"],
            cost=_cost(upstream),
        )
        if given is not None and outcome.score and outcome.score["status"] == "ok":
            verdicts = [
                {**item, "verdict": verdict["verdict"]}
                for item, verdict in zip(given, outcome.score["verdicts"], strict=True)
            ]
            answers.judged.append(Judged(group=group, given=verdicts, true=known["checklist"]))
    answers.listed.extend(listed.values())
