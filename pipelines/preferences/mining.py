"""From a labelled row to its pairs: rollouts, candidates, comparisons in both orders.

Nothing here decides by chance or by what other rows there are; asked with nobody to ask, the same
chain reads back what it asked before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipelines.answers import Row
from pipelines.build import PICTURES, Kind
from pipelines.export.formats import reserved_word
from pipelines.preferences.recipe import PreferenceRecipe
from pipelines.preferences.rollouts import get_rollouts, usable_rollouts
from pipelines.preferences.rules import (
    Pair,
    PairRules,
    Rollout,
    find_candidates,
    settle_comparison,
)
from pipelines.rendering import student_prompt
from pipelines.rows import read_rows
from pipelines.shard_run import ShardRun, gather_or_cancel, run_groups
from pipelines.stages import Stage, make_stage, stage_question
from pipelines.student import ask_student, student_stages
from prompts import load_prompt

COMPARISONS = "comparisons"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two correct rollouts, the answers about them in both orders, and what came of those."""

    one: Rollout
    other: Rollout
    answers: tuple[Row, Row]
    outcome: Pair | str


@dataclass(frozen=True, kw_only=True)
class Mined:
    """What became of a labelled row: as pairs, as a hard case, or with the reason for no pair.

    `answer` is None where the row's own text cannot be asked about.
    """

    row: Row
    answer: Row | None
    pairs: tuple[Pair, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    hard: bool = False
    reason: str | None = None


def preference_stages(kind: Kind, recipe: PreferenceRecipe) -> dict[str, Stage]:
    """The stages of a recipe by name: the student's, and `comparisons` where there is a judge."""
    stages = student_stages(
        kind,
        recipe.rollouts.as_scores(),
        recipe.endpoints.student[0],
        table=f"{kind}_rollouts",
        role="student",
    )
    if recipe.endpoints.judge:
        stages[COMPARISONS] = make_stage(
            COMPARISONS,
            table=COMPARISONS,
            role="judge",
            prompt_id="compare_rationales.v1",
            with_pictures=True,
            settings=recipe.comparisons,
            endpoint=recipe.endpoints.judge[0],
        )
    return stages


def groups_of(kind: Kind, rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of a bucket by the pictures they share, each with its place (`order`)."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for i, row in enumerate(rows):
        seen = tuple(row[name]["seen_sha256"] for name in PICTURES[kind])
        groups.setdefault(seen, []).append({**row, "order": i})
    return list(groups.values())


async def mine_group(group: list[Row], *, run: ShardRun, rules: PairRules) -> list[Mined]:
    """Every row of a group. Raises EndpointDown, NotAsked."""
    return await gather_or_cancel([mine_row(row, run=run, rules=rules) for row in group])


async def mine_row(row: Row, *, run: ShardRun, rules: PairRules) -> Mined:
    """One row: its rollouts once, then a comparison in both orders for each pair that needs one.

    Raises EndpointDown when no server answers, NotAsked when nobody may be asked.
    """
    _, task = student_prompt(row, row["axis"])
    if reserved_word("trl", [task]):
        return Mined(row=row, answer=None, reason="prompt:reserved")
    get = partial(get_rollouts, unfit_for="trl")
    answer = await ask_student(row, row["axis"], run=run, logprobs=False, get=get)
    if answer["status"] != "ok":
        return Mined(row=row, answer=answer, reason=answer["reason"])
    found = find_candidates(
        usable_rollouts(answer), row["label_score"], rules=rules, row=name_of(row)
    )
    if found.hard or found.reason:
        return Mined(row=row, answer=answer, hard=found.hard, reason=found.reason)
    comparisons: list[Comparison] = []
    if COMPARISONS in run.stages:
        comparisons = await gather_or_cancel(
            [_compare(row, answer, one, other, run=run) for one, other in found.to_compare]
        )
    better = [c.outcome for c in comparisons if isinstance(c.outcome, Pair)]
    pairs = (*found.pairs, *better)
    reason = None
    if not pairs:
        reason = str(comparisons[0].outcome) if comparisons else "pair:no_judge"
    return Mined(row=row, answer=answer, pairs=pairs, comparisons=tuple(comparisons), reason=reason)


def name_of(row: Mapping[str, str | None]) -> str:
    """What stands for a labelled row in seeded choices."""
    return f"{row['row_id']}/{row['axis'] or ''}"


async def _compare(
    row: Row, rollouts: Row, one: Rollout, other: Rollout, *, run: ShardRun
) -> Comparison:
    answers = await gather_or_cancel(
        [
            _ask_judge(row, rollouts, first, second, run=run)
            for first, second in ((one, other), (other, one))
        ]
    )
    if any(answer["status"] != "ok" for answer in answers):
        outcome = "compare:rejected"
    else:
        outcome = settle_comparison(one, other, *(answer["better"] for answer in answers))
    return Comparison(one=one, other=other, answers=(answers[0], answers[1]), outcome=outcome)


async def _ask_judge(
    row: Row, rollouts: Row, first: Rollout, second: Rollout, *, run: ShardRun
) -> Row:
    """Which of two rationales is better, in this order."""
    stage = run.stages[COMPARISONS]
    names = PICTURES["gen" if row["axis"] is None else "edit"]
    _, task = student_prompt(row, row["axis"])
    text = load_prompt(stage.prompt_id).render(
        {
            "task": task,
            "score": str(first.score),
            "first": first.reasoning,
            "second": second.reasoning,
        }
    )
    question = stage_question(stage, text, [row[name] for name in names])
    about = {
        "rollouts_id": rollouts["answer_id"],
        "first_rollout": str(first.index),
        "second_rollout": str(second.index),
    }
    contents = (*(row[name]["seen_sha256"] for name in names), text)
    return await run.answer(stage, question, contents=contents, about=about, order=row["order"])


def read_mined(
    build: Path, bucket: int, kind: Kind, stages: Mapping[str, Stage], rules: PairRules
) -> list[Mined]:
    """What became of a bucket's rows, from disk alone: the chain, run with nobody to ask.

    Raises NotAsked when an answer is missing, ShardDamaged.
    """
    run = ShardRun(build, bucket, stages, chat_of=None)
    groups = groups_of(kind, read_rows(build, bucket))
    return asyncio.run(run_groups(groups, partial(mine_group, rules=rules), run, at_once=1))
