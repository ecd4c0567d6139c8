"""From a prompt to its scored pictures: plan the checklist, then score each picture with it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from pipelines.answers import Row
from pipelines.rendering import render_checklist
from pipelines.shard_run import ShardRun, gather_or_cancel
from pipelines.stages import stage_question
from prompts import load_prompt


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one row of `rows/` on one axis (None for gen): the answers it rests on.

    `upstream` is the checklist or the differences, and `upstream_table` names the table that it is
    of; `score` is None when that was rejected, or when the rewriting of the row's instruction was:
    then that is the `upstream`.
    """

    row: Row
    axis: str | None
    upstream: Row
    upstream_table: str
    score: Row | None


async def plan_checklist(prompt: str, *, run: ShardRun, order: int) -> Row:
    """List what an image must show to satisfy a text-to-image prompt.

    The image is withheld, so the plan cannot bend to what the generator drew.

    Returns: a row of `checklists/`, ok with 3 to 12 items, most important first, or rejected.
    Raises: EndpointDown when no server answers.
    Source: FIRM (arXiv:2603.12247), plan-then-score.
    """
    stage = run.stages["checklists"]
    question = stage_question(stage, load_prompt(stage.prompt_id).render({"prompt": prompt}))
    return await run.answer(
        stage, question, contents=(prompt,), about={"prompt": prompt}, order=order
    )


async def score_picture(row: Row, checklist: Row, *, run: ShardRun, order: int) -> Row:
    """Walk the checklist over a picture: a verdict an item, reasoning, and the score 1-5.

    Returns: a row of `gen_scores/`, with exactly one verdict for each item, in checklist order.
    Raises: EndpointDown when no server answers.
    Source: FIRM (arXiv:2603.12247); the verdict an item gets is ours.
    """
    stage = run.stages["gen_scores"]
    picture = row["image"]
    items = render_checklist(checklist["items"])
    question = stage_question(
        stage,
        load_prompt(stage.prompt_id).render({"prompt": row["prompt"], "checklist": items}),
        [picture],
        exact_verdicts=len(checklist["items"]),
        logprobs=True,
        hidden=items,
        visible=row["prompt"],
    )
    about = {
        "prompt": row["prompt"],
        "image_sha256": picture["sha256"],
        "image_seen_sha256": picture["seen_sha256"],
        "checklist_id": checklist["answer_id"],
    }
    contents = (row["prompt"], items, picture["seen_sha256"])
    return await run.answer(stage, question, contents=contents, about=about, order=order)


def gen_groups(rows: list[Row]) -> list[list[Row]]:
    """Rows that share a prompt, in the order in which their prompts first come."""
    first = {}
    for i, row in enumerate(rows):
        first.setdefault(row["prompt"], i)
    ordered = sorted(rows, key=lambda row: first[row["prompt"]])
    return [list(group) for _, group in groupby(ordered, key=lambda row: row["prompt"])]


async def run_gen_group(group: list[Row], *, run: ShardRun) -> list[Outcome]:
    """One prompt and all its pictures: the checklist once, then every picture."""
    checklist = await plan_checklist(group[0]["prompt"], run=run, order=group[0]["order"])
    if checklist["status"] != "ok":
        return [
            Outcome(row=row, axis=None, upstream=checklist, upstream_table="checklists", score=None)
            for row in group
        ]
    scores = await gather_or_cancel(
        [score_picture(row, checklist, run=run, order=row["order"]) for row in group]
    )
    return [
        Outcome(row=row, axis=None, upstream=checklist, upstream_table="checklists", score=score)
        for row, score in zip(group, scores, strict=True)
    ]
