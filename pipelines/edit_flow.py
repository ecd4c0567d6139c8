"""From a picture pair to its scored edits: differences first, then execution and consistency."""

from __future__ import annotations

from typing import Any

from pipelines.answers import Row
from pipelines.gen_flow import Outcome
from pipelines.questions import Question
from pipelines.rendering import AXES, render_report
from pipelines.rewrites import rewrite_instruction
from pipelines.shard_run import ShardRun, gather_or_cancel
from pipelines.stages import stage_question
from prompts import load_prompt


async def report_differences(row: Row, *, run: ShardRun, order: int) -> Row:
    """List what differs between a source and an edited picture.

    The instruction is withheld, so the report cannot bend to what was asked for.

    Returns: a row of `differences/`: obvious, then detailed items, and the report made of both.
    Raises: EndpointDown when no server answers.
    Source: FIRM (arXiv:2603.12247), difference-first; one request for both passes (docs/adr/0003).
    """
    stage = run.stages["differences"]
    question = _question(row, run, "differences", {})
    contents = tuple(row[side]["seen_sha256"] for side in ("source_image", "edited_image"))
    found = await run.answer(stage, question, contents=contents, about=_about(row), order=order)
    if found["status"] == "ok" and found.get("report") is None:
        found["report"] = render_report(found["obvious"], found["detailed"])
    return found


async def score_edit(row: Row, differences: Row, axis: str, *, run: ShardRun, order: int) -> Row:
    """Score one edit on one axis, 1-5 with reasoning, from the pictures, report and instruction.

    Returns: a row of `edit_scores/`.
    Raises: EndpointDown when no server answers.
    Source: FIRM (arXiv:2603.12247), execution and consistency rubrics.
    """
    report = differences["report"]
    stage = run.stages[axis]
    question = _question(row, run, axis, {"instruction": row["instruction"], "report": report})
    contents = score_contents(row, report)
    about = _about(row) | {
        "instruction": row["instruction"],
        "axis": axis,
        "differences_id": differences["answer_id"],
    }
    return await run.answer(stage, question, contents=contents, about=about, order=order)


def score_contents(row: Row, report: str) -> tuple[str, ...]:
    """What a score of an edit is about, as its identity names it (identity.py)."""
    return (
        row["source_image"]["seen_sha256"],
        row["edited_image"]["seen_sha256"],
        report,
        row["instruction"],
    )


def _question(row: Row, run: ShardRun, stage_name: str, values: dict[str, str]) -> Question:
    stage = run.stages[stage_name]
    return stage_question(
        stage,
        load_prompt(stage.prompt_id).render(values),
        [row["source_image"], row["edited_image"]],
        logprobs=stage_name in AXES,
        hidden=values.get("report"),
        visible=values.get("instruction", ""),
    )


def _about(row: Row) -> dict[str, Any]:
    return {
        f"{side}_{what}": row[side][what]
        for side in ("source_image", "edited_image")
        for what in ("sha256", "seen_sha256")
    }


def edit_groups(rows: list[Row]) -> list[list[Row]]:
    """Rows that share a picture pair, in the order in which the pairs first come."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        pair = (row["source_image"]["seen_sha256"], row["edited_image"]["seen_sha256"])
        groups.setdefault(pair, []).append(row)
    return list(groups.values())


async def run_edit_group(group: list[Row], *, run: ShardRun) -> list[Outcome]:
    """One picture pair: its differences once, then for every instruction both axes back to back."""
    differences = await report_differences(group[0], run=run, order=group[0]["order"])
    if differences["status"] != "ok":
        return [o for row in group for o in _without_scores(row, "differences", differences)]
    per_row = await gather_or_cancel([_both_axes(row, differences, run=run) for row in group])
    return [outcome for outcomes in per_row for outcome in outcomes]


def _without_scores(row: Row, table: str, rejected: Row) -> list[Outcome]:
    return [
        Outcome(row=row, axis=axis, upstream=rejected, upstream_table=table, score=None)
        for axis in AXES
    ]


async def _both_axes(row: Row, differences: Row, *, run: ShardRun) -> list[Outcome]:
    if row.get("rewrite"):
        rewrite = await rewrite_instruction(row, run=run, order=row["order"])
        if rewrite["status"] != "ok":
            return _without_scores(row, "rewrites", rewrite)
        rewritten = {"instruction": rewrite["instruction"], "rewrites_id": rewrite["answer_id"]}
        row = {**row, **rewritten}
    outcomes = []
    for i, axis in enumerate(AXES):
        # One after the other: the second finds the first one's prefix in the server's cache.
        score = await score_edit(row, differences, axis, run=run, order=2 * row["order"] + i)
        outcomes.append(
            Outcome(
                row=row,
                axis=axis,
                upstream=differences,
                upstream_table="differences",
                score=score,
            )
        )
    return outcomes
