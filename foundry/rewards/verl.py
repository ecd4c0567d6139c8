"""A scorer for verl-omni, which trains image models with GRPO on verl.

`examples/verl_omni_reward.args` has the keys of its configuration, as of verl-omni at 061f8b9.
Further keys under `reward_functions.firm` reach `compute_score`. `required=true` is not to be left
out: the manager of that version counts a failure as 0.0 without it, a score that nobody gave;
others may fail at once and have no such key, which is then not looked at.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from PIL import Image

from foundry.rewards.client import BackgroundClient, edit_item, gen_item

# Reasons that another try may mend; an item or a request that is at fault stays so.
_PASSING = ("reply:", "deadline", "judge:down")
# A manager asks for each sample by itself.
_AT_ONCE = 256


class Unscored(Exception):
    """A picture without a reward, after all tries; the message says why."""


async def compute_score(
    data_source: str,
    solution_image: Any = None,
    ground_truth: str = "",
    extra_info: Mapping[str, Any] | None = None,
    *,
    server_url: str,
    token_env: str | None = None,
    tries: int = 3,
    **_: Any,
) -> dict[str, Any]:
    """The reward of a picture (C, H, W), floats from 0 to 1, or (1, C, H, W).

    `ground_truth` is its prompt; where `extra_info` has a `source_image` (a path, bytes or one of
    Pillow's), it is an edit's instruction. `token_env` names the variable with the server's token.
    Returns `score`, 0 to 1, and the judge's scores for verl's metrics. Raises Unscored,
    RewardServerDown, ValueError.
    """
    if solution_image is None:
        raise ValueError("no solution_image: verl itself trains texts, verl-omni gives pictures")
    image = as_image(solution_image)
    source = (extra_info or {}).get("source_image")
    item = gen_item(ground_truth, image)
    if source is not None:
        item = edit_item(ground_truth, source, image)
    client = _client(server_url, os.environ[token_env] if token_env else None)
    told = ""
    for _try in range(tries):
        (answer,) = await asyncio.wrap_future(client.score([item]))
        if answer["valid"]:
            judged = {f"firm_{axis}": one["value"] for axis, one in answer["scores"].items()}
            return {"score": answer["reward"], **judged}
        told = f"{answer['reason']} {answer['detail']}"
        if not answer["reason"].startswith(_PASSING):
            break
    raise Unscored(f"{data_source}: {told}")


@cache
def _client(url: str, token: str | None) -> BackgroundClient:
    """One for all samples of this process, so that connections are used again."""
    return BackgroundClient(url, token=token, at_once=_AT_ONCE)


def as_image(picture: Any) -> Image.Image:
    """A tensor's or array's picture. Raises ValueError for another shape."""
    import numpy as np

    if hasattr(picture, "detach"):
        picture = picture.detach().float().cpu().numpy()
    array = np.asarray(picture, dtype=np.float64)
    if not (np.isfinite(array).all() and array.min() >= -0.01 and array.max() <= 1.01):
        raise ValueError("a picture is of floats from 0 to 1")
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim != 3 or 3 not in (array.shape[0], array.shape[-1]):
        raise ValueError(f"a picture is (3, height, width), not {array.shape}")
    if array.shape[0] == 3:
        array = array.transpose(1, 2, 0)
    return Image.fromarray((array * 255).round().clip(0, 255).astype("uint8"))
