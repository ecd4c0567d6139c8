"""Scores from what a reward model sees in GRPO: pictures and text, no report and no checklist."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pipelines.answers import Row, get_answer
from pipelines.build import Kind
from pipelines.endpoint_settings import Endpoint
from pipelines.rendering import AXES, student_prompt, student_prompt_id
from pipelines.settings import ScoreSettings
from pipelines.shard_run import GetAnswer, ShardRun, gather_or_cancel
from pipelines.stages import Stage, make_stage, stage_question

AxesOf = Callable[[Row], Sequence[str | None]]


@dataclass(frozen=True, kw_only=True)
class StudentAnswer:
    """A row of `rows/`, the axis asked about (None for a generated picture), and the answer."""

    row: Row
    axis: str | None
    score: Row


def student_stages(
    kind: Kind,
    settings: ScoreSettings,
    endpoint: Endpoint,
    *,
    table: str | None = None,
    role: str = "judge",
    score_only: bool = False,
) -> dict[str, Stage]:
    """The one stage of a student, by name. `table` left out is that of its scores.

    With `score_only` it gives no reasoning.
    """
    name = f"judge_{kind}"
    stage = make_stage(
        name,
        table=table or f"{name}_scores",
        role=role,
        prompt_id=student_prompt_id(edit=kind == "edit", score_only=score_only),
        with_pictures=True,
        settings=settings,
        endpoint=endpoint,
    )
    return {name: stage}


def all_axes(row: Row) -> tuple[str | None, ...]:
    """The axes that a row can be scored on: both of an edit, None for a generated picture."""
    return AXES if "instruction" in row else (None,)


async def ask_student(
    row: Row,
    axis: str | None,
    *,
    run: ShardRun,
    logprobs: bool = True,
    get: GetAnswer = get_answer,
) -> Row:
    """The student's answer about a row; `get` as in `ShardRun.answer`. Raises EndpointDown."""
    columns = ("image",) if axis is None else ("source_image", "edited_image")
    stage = run.stages["judge_gen" if axis is None else "judge_edit"]
    pictures = [row[column] for column in columns]
    _, text = student_prompt(row, axis)
    question = stage_question(stage, text, pictures, logprobs=logprobs)
    about = {
        f"{column}_{what}": row[column][what]
        for column in columns
        for what in ("sha256", "seen_sha256")
    }
    about |= (
        {"prompt": row["prompt"]}
        if axis is None
        else {"instruction": row["instruction"], "axis": axis}
    )
    contents = (*(picture["seen_sha256"] for picture in pictures), text)
    order = 2 * row["order"] + (axis == AXES[1])
    return await run.answer(stage, question, contents=contents, about=about, order=order, get=get)


async def run_student_group(
    group: list[Row],
    *,
    run: ShardRun,
    axes_of: AxesOf = all_axes,
    ask: Callable[..., Awaitable[Row]] = ask_student,
) -> list[StudentAnswer]:
    """Every row of a group, on the axes that `axes_of` says, as `ask` does. Raises EndpointDown."""

    async def score(row: Row, axis: str | None) -> StudentAnswer:
        return StudentAnswer(row=row, axis=axis, score=await ask(row, axis, run=run))

    return await gather_or_cancel([score(row, axis) for row in group for axis in axes_of(row)])
