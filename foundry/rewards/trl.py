"""Rewards for TRL's GRPOTrainer: `reward_funcs=make_reward("http://127.0.0.1:8600")`.

TRL gives a reward function its columns as lists, and leaves out a sample to which no reward
function gave a number. A None beside another function's number counts as 0 there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import cache
from typing import Any

from foundry.rewards.client import BackgroundClient, edit_item, gen_item

Reward = Callable[..., Any]
# From the columns of one sample to what is scored: an item of `foundry.rewards.client`, or None for
# a sample that cannot be scored, such as one whose picture could not be drawn.
MakeItem = Callable[[Mapping[str, Any]], "Mapping[str, Any] | None"]
# The columns that are scored by default: a text, then its pictures.
_GEN = ("prompt_text", "generated_image")
_EDIT = ("instruction", "source_image", "edited_image")
# What TRL calls a column, and what one sample has.
_ONE = {"completions": "completion", "prompts": "prompt"}


def picture_item(sample: Mapping[str, Any]) -> dict[str, str] | None:
    """An item of `prompt_text` and `generated_image`, or `instruction`, `source_image` and
    `edited_image`.

    The picture that was made comes with the completion, from a `rollout_func`: a column of the
    dataset would be the same for all of a group. TRL itself takes `image` and `images` for what the
    policy is shown. In a dataset of both, a sample has None for what is the other's. None for a
    sample whose picture is None. Raises KeyError for a missing column.
    """
    names = _EDIT if _is_edit(sample) else _GEN
    if missing := [name for name in names if name not in sample]:
        raise KeyError(f"no column {', '.join(missing)}; see docs/rewards.md, or give make_item")
    text, *pictures = (sample[name] for name in names)
    if any(picture is None for picture in pictures):
        return None
    return edit_item(text, *pictures) if names is _EDIT else gen_item(text, *pictures)


def _is_edit(sample: Mapping[str, Any]) -> bool:
    return sample.get("instruction") is not None or (
        "instruction" in sample and _GEN[0] not in sample
    )


def make_reward(
    url: str,
    *,
    name: str = "firm_foundry",
    make_item: MakeItem = picture_item,
    asynchronous: bool = False,
    **settings: Any,
) -> Reward:
    """A function for `reward_funcs`; what cannot be scored is None.

    TRL logs it under its `name`: two functions need two. `make_item` sees the columns of one
    sample, `completion` and `prompt` among them. `settings` are those of RewardClient. With
    `asynchronous` TRL runs it beside other rewards. The function raises RewardServerDown when the
    server does not answer: a training without rewards must stop.
    """

    @cache
    def client() -> BackgroundClient:
        return BackgroundClient(url, **settings)

    def samples(columns: Mapping[str, Any]) -> list[Mapping[str, Any] | None]:
        named = {_ONE.get(name, name): values for name, values in columns.items()}
        n = len(named["completion"])
        # Besides columns TRL gives its state and functions.
        lists = {k: v for k, v in named.items() if isinstance(v, list) and len(v) == n}
        return [make_item({k: v[i] for k, v in lists.items()}) for i in range(n)]

    def ask(items: Sequence[Any]) -> Future[list[dict[str, Any]]]:
        return client().score([item for item in items if item is not None])

    def placed(items: Sequence[Any], answers: Sequence[Mapping[str, Any]]) -> list[float | None]:
        given = iter(answers)
        return [None if item is None else next(given)["reward"] for item in items]

    def reward(**columns: Any) -> list[float | None]:
        items = samples(columns)
        return placed(items, ask(items).result())

    async def reward_async(**columns: Any) -> list[float | None]:
        items = samples(columns)
        return placed(items, await asyncio.wrap_future(ask(items)))

    chosen = reward_async if asynchronous else reward
    chosen.__name__ = name
    return chosen
