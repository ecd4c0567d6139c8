"""Scores from what a reward model sees in GRPO: pictures and text, no report and no checklist."""

from __future__ import annotations

from pipelines.answers import Row
from pipelines.build import Kind
from pipelines.chat import Question
from pipelines.gen_flow import seen_picture
from pipelines.recipe import Endpoint, ScoreSettings
from pipelines.rendering import AXES
from pipelines.shard_run import ShardRun, gather_or_cancel
from pipelines.stages import SYSTEM_PROMPT, Stage, make_stage
from prompts import load_prompt

_PICTURES = {"gen": ("image",), "edit": ("source_image", "edited_image")}


def student_stages(kind: Kind, settings: ScoreSettings, endpoint: Endpoint) -> dict[str, Stage]:
    """The one stage of a student, by name."""
    name = f"judge_{kind}"
    stage = make_stage(
        name,
        table=f"{name}_scores",
        role="judge",
        prompt_id=f"{name}.v1",
        with_pictures=True,
        settings=settings,
        endpoint=endpoint,
    )
    return {name: stage}


async def run_student_group(group: list[Row], *, run: ShardRun) -> list[tuple[Row, str, Row]]:
    """Every row of a group, an edit on both axes: row, axis (`gen` for a picture), answer."""
    return await gather_or_cancel(
        [
            _scored(row, axis, run=run)
            for row in group
            for axis in (AXES if "instruction" in row else ("gen",))
        ]
    )


async def _scored(row: Row, axis: str, *, run: ShardRun) -> tuple[Row, str, Row]:
    """Score one row as the student does, 1-5 with reasoning. Raises EndpointDown."""
    kind = "edit" if axis in AXES else "gen"
    stage = run.stages[f"judge_{kind}"]
    pictures = {name: row[name] for name in _PICTURES[kind]}
    texts = (
        {"instruction": row["instruction"], "axis": axis}
        if kind == "edit"
        else {"prompt": row["prompt"]}
    )
    question = Question(
        system=load_prompt(SYSTEM_PROMPT).text,
        pictures=tuple(seen_picture(picture) for picture in pictures.values()),
        text=load_prompt(stage.prompt_id).render(texts),
        schema_id=stage.schema_id,
        max_tokens=stage.max_tokens,
        temperature=stage.sampling["temperature"],
        top_p=stage.sampling["top_p"],
        logprobs=True,
        sticky=next(iter(pictures.values()))["seen_sha256"],
    )
    contents = (*(p["seen_sha256"] for p in pictures.values()), *texts.values())
    about = texts | {
        f"{name}_{what}": picture[what]
        for name, picture in pictures.items()
        for what in ("sha256", "seen_sha256")
    }
    order = 2 * row["order"] + (axis == AXES[1])
    return row, axis, await run.answer(stage, question, contents=contents, about=about, order=order)
