"""Which of two generated pictures is better, asked with both in one request."""

from __future__ import annotations

from pipelines.answers import Row
from pipelines.endpoint_settings import Endpoint
from pipelines.settings import StageSettings
from pipelines.shard_run import ShardRun, gather_or_cancel
from pipelines.stages import Stage, make_stage, stage_question
from prompts import load_prompt


def pair_stages(settings: StageSettings, endpoint: Endpoint) -> dict[str, Stage]:
    """The one stage of a judge of pairs, by name."""
    stage = make_stage(
        "judge_pair",
        table="judge_pair_choices",
        role="judge",
        prompt_id="judge_pair.v1",
        with_pictures=True,
        settings=settings,
        endpoint=endpoint,
    )
    return {stage.name: stage}


async def run_pair(pair: list[Row], *, run: ShardRun) -> list[Row]:
    """Two rows of one prompt, shown as they are and then the other way round. Raises EndpointDown.

    Each row has its `order` in the shard. Returns both answers; `choice` names the place in the
    request, not in the pair.
    """
    return await gather_or_cancel([_choose(pair, run=run), _choose(pair[::-1], run=run)])


async def _choose(pair: list[Row], *, run: ShardRun) -> Row:
    stage = run.stages["judge_pair"]
    pictures = [row["image"] for row in pair]
    prompt = pair[0]["prompt"]
    text = load_prompt(stage.prompt_id).render({"prompt": prompt})
    # Both orders go to one server, which then has the pictures.
    sticky = min(picture["seen_sha256"] for picture in pictures)
    question = stage_question(stage, text, pictures, sticky=sticky)
    about = {
        f"{side}_image_{what}": picture[what]
        for side, picture in zip(("first", "second"), pictures, strict=True)
        for what in ("sha256", "seen_sha256")
    }
    contents = (*(picture["seen_sha256"] for picture in pictures), text)
    return await run.answer(
        stage,
        question,
        contents=contents,
        about={"prompt": prompt, **about},
        order=2 * pair[0]["order"],
    )
