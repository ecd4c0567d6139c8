"""The candidates of one prompt, or of one instruction and source, scored as a group.

By points each gets its own reward; by win rate the judge chooses between every two pictures, asked
in both orders, and a candidate's reward is the share of its pairs that it wins (Pref-GRPO). A pair
whose orders disagree is a tie.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from foundry.rewards.formulas import Array, group_advantages, win_rates
from foundry.rewards.items import BadItem, BadRequest, Item, RawItem, check_text, read_picture
from foundry.rewards.scoring import ask_judge
from pipelines.build import Kind
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


@dataclass(frozen=True, kw_only=True)
class Group:
    """A request, its pictures not looked at yet: `source` is an edit's, else None."""

    mode: str
    kind: Kind
    text: Any
    source: Any = field(repr=False)
    images: Sequence[Any] = field(repr=False)

    @property
    def axes(self) -> tuple[str | None, ...]:
        """What each candidate is scored on."""
        return AXES if self.kind == "edit" else (None,)


def read_group(value: Any, *, most: int) -> Group:
    """The group that a request describes. Raises BadRequest."""
    if not isinstance(value, dict) or set(value) - _FIELDS:
        raise BadRequest(f"a group is an object with {', '.join(sorted(_FIELDS))}")
    mode, images = value.get("mode", "point"), value.get("images")
    if mode not in MODES:
        raise BadRequest(f"mode is one of {', '.join(MODES)}")
    most = min(most, MOST_COMPARED) if mode == "win_rate" else most
    if not isinstance(images, list) or not 2 <= len(images) <= most:
        raise BadRequest(f"images are a list of 2 to {most} candidates")
    edit = "instruction" in value
    if ("prompt" in value) == edit or ("source_image" in value) != edit:
        raise BadRequest("a group has a prompt, or an instruction with its source_image")
    if mode == "win_rate" and edit:
        raise BadRequest("mode win_rate is for generated pictures alone")
    return Group(
        mode=mode,
        kind="edit" if edit else "gen",
        text=value["instruction" if edit else "prompt"],
        source=value.get("source_image"),
        images=images,
    )


def read_source(group: Group, *, limits: ImageLimits, files: str | None) -> Mapping[str, Any]:
    """The prepared source picture of an edit's group. Raises BadItem."""
    check_text(group.kind, group.text)
    return read_picture("source_image", group.source, limits=limits, files=files)


def candidates(group: Group, before: tuple[Mapping[str, Any], ...]) -> list[RawItem]:
    """The candidates, not looked at yet; `before` is the prepared source of an edit's."""
    return [
        RawItem(kind=group.kind, axes=group.axes, text=group.text, pictures=(image,), before=before)
        for image in group.images
    ]


async def compare(
    items: Sequence[Item | BadItem],
    *,
    chat: Chat,
    stage: Stage,
    until: float,
    why_late: Callable[[], str],
) -> tuple[Array, Counter[str]]:
    """Who wins which pair, and what became of the comparisons: how many are ok, or why not.

    Wins are (G, G): 1 row against column, 0, 0.5 for a tie, NaN for a pair without both answers.
    A comparison that is not there at `until` (of time.monotonic) has the reason of `why_late`.
    """
    wins = np.full((len(items), len(items)), np.nan)
    looked_at = [(i, item) for i, item in enumerate(items) if isinstance(item, Item)]
    pairs = list(combinations(looked_at, 2))
    orders = [order for (_, a), (_, b) in pairs for order in ((a, b), (b, a))]

    async def choose(first: Item, second: Item) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(until - time.monotonic()):
                return await _choose(first, second, chat, stage)
        except TimeoutError:
            return {"status": "rejected", "reason": why_late()}

    rows = await gather_or_cancel([choose(a, b) for a, b in orders])
    for ((i, _), (j, _)), there, back in zip(pairs, rows[::2], rows[1::2], strict=True):
        if "ok" == there["status"] == back["status"]:
            wins[i, j] = ((there["choice"] == "first") + (back["choice"] == "second")) / 2
            wins[j, i] = 1 - wins[i, j]
    return wins, Counter(row["reason"] or "ok" for row in rows)


async def _choose(first: Item, second: Item, chat: Chat, stage: Stage) -> Mapping[str, Any]:
    text = load_prompt(stage.prompt_id).render({"prompt": first.text})
    pictures = (*first.pictures, *second.pictures)
    return await ask_judge(text, pictures, chat, stage, logprobs=False)


def point_answer(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The answer for a group of which each candidate has its own."""
    return _with_advantages([answer["reward"] for answer in answers]) | {"items": list(answers)}


def win_rate_answer(
    items: Sequence[Item | BadItem], wins: Array, outcomes: Mapping[str, int]
) -> dict[str, Any]:
    """The answer for a group that was compared; `reasons` of candidates not looked at."""
    faults = {reason: n for reason, n in outcomes.items() if reason != "ok"}
    reasons = [
        {"reason": item.reason, "detail": item.detail} if isinstance(item, BadItem) else None
        for item in items
    ]
    more = {"wins": _as_json(wins), "reasons": reasons, "faults": faults}
    return _with_advantages(_as_json(win_rates(wins))) | more


def _with_advantages(rewards: Sequence[float | None]) -> dict[str, Any]:
    advantages = group_advantages([np.nan if reward is None else reward for reward in rewards])
    return {
        "rewards": list(rewards),
        "advantages": _as_json(advantages.values),
        "no_spread": bool(advantages.no_spread),
    }


def _as_json(values: Array) -> list[Any]:
    """Nested lists with None for NaN."""
    return [_as_json(v) if v.ndim else (None if np.isnan(v) else float(v)) for v in values]
