"""The candidates of one prompt, or of one instruction and source, scored as a group.

By points each gets its own reward; by win rate the judge chooses between every two pictures, asked
in both orders, and a candidate's reward is the share of its pairs that it wins (Pref-GRPO). A pair
whose orders disagree is a tie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from foundry.rewards.formulas import Array, group_advantages, win_rates
from foundry.rewards.items import BadItem, BadRequest, Item, make_item
from foundry.rewards.scoring import ask_judge
from pipelines.chat import Chat
from pipelines.rendering import AXES
from pipelines.settings import ImageLimits
from pipelines.shard_run import gather_or_cancel
from pipelines.stages import Stage
from prompts import load_prompt

_FIELDS = {"prompt", "instruction", "source_image", "images", "mode", "deadline_s"}
MODES = ("point", "win_rate")
# Every two of them are compared twice.
MOST_COMPARED = 32


def read_group(
    value: Any, *, most: int, limits: ImageLimits, files: str | None
) -> tuple[str, list[Item | BadItem]]:
    """The mode and the candidates of a request. Raises BadRequest."""
    if not isinstance(value, dict) or set(value) - _FIELDS:
        raise BadRequest(f"a group is an object with {', '.join(sorted(_FIELDS))}")
    mode, images = value.get("mode", "point"), value.get("images")
    if mode not in MODES:
        raise BadRequest(f"mode is one of {', '.join(MODES)}")
    most = min(most, MOST_COMPARED) if mode == "win_rate" else most
    if not isinstance(images, list) or not 2 <= len(images) <= most:
        raise BadRequest(f"images are a list of 2 to {most} candidates")
    if ("prompt" in value) == ("instruction" in value):
        raise BadRequest("a group has a prompt, or an instruction with its source_image")
    if mode == "win_rate" and "instruction" in value:
        raise BadRequest("mode win_rate is for generated pictures alone")
    edit = "instruction" in value
    if edit != ("source_image" in value):
        raise BadRequest("an instruction comes with its source_image, and a prompt without one")

    def candidate(image: Any) -> Item | BadItem:
        try:
            if edit:
                pictures = (value["source_image"], image)
                text = value["instruction"]
                return make_item("edit", AXES, text, pictures, limits=limits, files=files)
            return make_item("gen", (None,), value["prompt"], (image,), limits=limits, files=files)
        except BadItem as bad:
            return bad

    return mode, [candidate(image) for image in images]


async def wins_of(items: Sequence[Item | BadItem], *, chat: Chat, stage: Stage) -> Array:
    """Who wins which pair, (G, G): 1 row against column, 0, 0.5 for a tie, NaN for no answer."""
    wins = np.full((len(items), len(items)), np.nan)
    pairs = [
        (i, j)
        for i, j in combinations(range(len(items)), 2)
        if isinstance(items[i], Item) and isinstance(items[j], Item)
    ]
    orders = [order for i, j in pairs for order in ((i, j), (j, i))]
    chosen = await gather_or_cancel(
        [_choose(items[first], items[second], chat, stage) for first, second in orders]
    )
    for (i, j), there, back in zip(pairs, chosen[::2], chosen[1::2], strict=True):
        if there is None or back is None:
            continue
        wins[i, j] = ((there == "first") + (back == "second")) / 2
        wins[j, i] = 1 - wins[i, j]
    return wins


async def _choose(first: Any, second: Any, chat: Chat, stage: Stage) -> str | None:
    """The place of the better of two in a request; None where the reply cannot be used."""
    text = load_prompt(stage.prompt_id).render({"prompt": first.text})
    pictures = (*first.pictures, *second.pictures)
    row = await ask_judge(text, pictures, chat, stage, logprobs=False)
    return row["choice"] if row["status"] == "ok" else None


def group_answer(rewards: Sequence[float | None], **more: Any) -> dict[str, Any]:
    """`rewards` of a group with their `advantages`, None where there is none, and `no_spread`."""
    given = [np.nan if reward is None else reward for reward in rewards]
    advantages = group_advantages(given)
    return {
        "rewards": list(rewards),
        "advantages": [None if np.isnan(value) else float(value) for value in advantages.values],
        "no_spread": bool(advantages.no_spread),
        **more,
    }


def rewards_of_wins(wins: Array) -> list[float | None]:
    """Win rates, None for a candidate without a decided pair."""
    return [None if np.isnan(rate) else float(rate) for rate in win_rates(wins)]


def wins_as_json(wins: Array) -> list[list[float | None]]:
    """The matrix with None for NaN."""
    return [[None if np.isnan(cell) else float(cell) for cell in row] for row in wins]


def reasons_of(items: Sequence[Item | BadItem]) -> list[Mapping[str, str] | None]:
    """Of each candidate that cannot be looked at, why."""
    return [
        {"reason": item.reason, "detail": item.detail} if isinstance(item, BadItem) else None
        for item in items
    ]
