"""An item's score and reward, by the stages of production: same prompts, same reading of replies.

What cannot be scored is invalid, with a reason, and has no number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from foundry.rewards.formulas import cme, normalise, qma, weighted_sum
from foundry.rewards.items import Item
from foundry.rewards.settings import RewardSettings
from pipelines.answers import get_answer
from pipelines.build import Kind, Row
from pipelines.chat import Chat, EndpointDown, RequestStuck
from pipelines.identity import answer_id
from pipelines.launch import LaunchFailed
from pipelines.pair_choice import pair_stages
from pipelines.rendering import AXES, GEN_AXIS, student_prompt
from pipelines.settings import ScoreSettings, StageSettings
from pipelines.shard_run import gather_or_cancel
from pipelines.stages import Stage, make_stage, stage_question
from pipelines.student import student_stages
from prompts import load_prompt

# That of EditScore's votes (arXiv:2509.23909).
VOTE_TEMPERATURE = 0.7
JUDGE_DOWN = "judge:down"
# The axis of a generated picture beside how well it follows its prompt.
QUALITY = "quality"
SUM_WEIGHTS = (0.5, 0.5)
QUALITY_PARTS = ("aesthetics", "technical", "structure")
_LONGEST_DETAIL = 300
_KINDS: tuple[Kind, ...] = ("edit", "gen")


@dataclass(frozen=True, kw_only=True)
class AxisScore:
    """A score on one axis: raw, 1 to 5.

    `valid` false: every number is None, `reason` says why, and `detail` more of it.

    `score` is the reply's integer (of several, the majority), `score_mean` the mean of the replies,
    `score_expected` the mean under `score_probs`, the probabilities of 1 to 5. `value` is that one
    of them which the reward is made of. Quality has `parts`, of which `score` is the least.
    """

    valid: bool
    reason: str | None = None
    detail: str = ""
    score: int | None = None
    score_mean: float | None = None
    score_expected: float | None = None
    score_probs: list[float] | None = None
    reasoning: str | None = None
    value: float | None = None
    parts: dict[str, int] | None = None


def invalid(reason: str, detail: str = "") -> dict[str, Any]:
    """The answer for an item without a reward."""
    return {"valid": False, "reason": reason, "detail": detail, "reward": None, "scores": {}}


def make_stages(settings: RewardSettings) -> Mapping[str, Stage]:
    """How each kind of item, the quality of a picture, and the better of two, are asked about."""
    votes = settings.k if settings.mode == "average" else 1
    asking = ScoreSettings(
        votes=votes,
        temperature=VOTE_TEMPERATURE if votes > 1 else 0.0,
        attempts=settings.attempts,
        label_mass_share=0.0,
    )
    score_only = settings.mode == "expected"
    judge = settings.endpoint[0]
    stages = {
        kind: stage
        for kind in _KINDS
        for stage in student_stages(kind, asking, judge, score_only=score_only).values()
    }
    stages |= pair_stages(StageSettings(attempts=settings.attempts), judge)
    if settings.gen_reward == "qma":
        stages[QUALITY] = make_stage(
            "judge_quality",
            table="judge_quality",
            role="judge",
            prompt_id="judge_quality.v1",
            with_pictures=True,
            settings=StageSettings(attempts=settings.attempts),
            endpoint=judge,
        )
    return stages


def questions_of(kind: Kind, axes: Sequence[str | None], settings: RewardSettings) -> int:
    """How many replies of the judge an item takes."""
    votes = settings.k if settings.mode == "average" else 1
    return len(axes) * votes + (kind == "gen" and settings.gen_reward == "qma")


async def score_item(
    item: Item, *, chat: Chat, stages: Mapping[str, Stage], settings: RewardSettings
) -> dict[str, Any]:
    """The answer for an item: `valid`, `reason`, `detail`, `reward` and `scores` by axis.

    Never raises for what a judge or its server does.
    """
    asked = [_score(item, axis, chat, stages[item.kind], settings) for axis in item.axes]
    names = [axis or GEN_AXIS for axis in item.axes]
    if item.kind == "gen" and QUALITY in stages:
        asked.append(_quality(item, chat, stages[QUALITY]))
        names.append(QUALITY)
    named = dict(zip(names, await gather_or_cancel(asked), strict=True))
    bad = next((score for score in named.values() if not score.valid), None)
    return {
        "valid": bad is None,
        "reason": bad.reason if bad else None,
        "detail": bad.detail if bad else "",
        "reward": None if bad else reward_of(named, settings),
        "scores": {axis: asdict(score) for axis, score in named.items()},
    }


def reward_of(scores: Mapping[str, AxisScore], settings: RewardSettings) -> float:
    """A reward, 0 to 1, of valid scores.

    Of both axes of an edit by `edit_reward`, of alignment and quality by QMA, of one axis its own.
    """
    values = {axis: score.value for axis, score in scores.items() if score.value is not None}
    if set(values) == set(AXES):
        both = [values[axis] for axis in AXES]
        if settings.edit_reward == "sum":
            return float(weighted_sum(both, SUM_WEIGHTS))
        return float(cme(*both))
    if QUALITY in values:
        return float(qma(values[GEN_AXIS], values[QUALITY]))
    (value,) = values.values()
    return float(normalise(value))


async def _score(
    item: Item, axis: str | None, chat: Chat, stage: Stage, settings: RewardSettings
) -> AxisScore:
    texts = {"instruction" if axis else "prompt": item.text}
    _, text = student_prompt(texts, axis, score_only=settings.mode == "expected")
    return read_row(await ask_judge(text, item.pictures, chat, stage, logprobs=True), settings)


async def _quality(item: Item, chat: Chat, stage: Stage) -> AxisScore:
    """As FIRM's: the least of three scores, of the picture alone."""
    text = load_prompt(stage.prompt_id).text
    row = await ask_judge(text, item.pictures, chat, stage, logprobs=False)
    if row["status"] != "ok":
        return _unusable(row)
    parts = {name: row[name] for name in QUALITY_PARTS}
    least = min(parts.values())
    return AxisScore(
        valid=True, score=least, value=float(least), reasoning=row["reasoning"], parts=parts
    )


async def ask_judge(
    text: str,
    pictures: Sequence[Mapping[str, Any]],
    chat: Chat,
    stage: Stage,
    *,
    logprobs: bool,
) -> Row:
    """The row of one answer, as a build would have it: `status` ok or rejected, with a reason."""
    question = stage_question(stage, text, pictures, logprobs=logprobs)
    seen = (*(picture["seen_sha256"] for picture in pictures), text)
    identity = answer_id(stage.digest, seen)
    try:
        return await get_answer(question, answer_id=identity, stage=stage, chat=chat, journal=None)
    except RequestStuck:
        return {"status": "rejected", "reason": "request:stuck"}
    except (EndpointDown, LaunchFailed):
        return {"status": "rejected", "reason": JUDGE_DOWN}


def read_row(row: Row, settings: RewardSettings) -> AxisScore:
    """An answer's row as a score, in the mode of the settings."""
    if row["status"] != "ok":
        return _unusable(row)
    mean, expected = fmean(row["vote_scores"]), row["score_expected"]
    value = {"reasoning": float(row["score"]), "expected": expected, "average": mean}
    if value[settings.mode] is None:
        return AxisScore(valid=False, reason="reply:no_probabilities")
    return AxisScore(
        valid=True,
        score=row["score"],
        score_mean=mean,
        score_expected=expected,
        score_probs=row["score_probs"],
        reasoning=row.get("reasoning"),
        value=value[settings.mode],
    )


def _unusable(row: Row) -> AxisScore:
    detail = (row.get("detail") or "")[:_LONGEST_DETAIL]
    return AxisScore(valid=False, reason=row["reason"], detail=detail)
