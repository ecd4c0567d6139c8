"""A scorer for verl-omni, which trains image models with GRPO on verl.

    reward.reward_manager.name=MultiVisualRewardManager
    "+reward.reward_functions.firm.path=pkg://foundry.rewards.verl"
    +reward.reward_functions.firm.name=compute_score
    +reward.reward_functions.firm.weight=1.0
    +reward.reward_functions.firm.required=true
    +reward.reward_functions.firm.server_url=http://127.0.0.1:8600

Further keys under it reach `compute_score`. Without `required=true` that manager counts a failure
as 0.0, a score that nobody gave.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from PIL import Image

from foundry.rewards.client import RewardClient, edit_item, gen_item


class Unscored(Exception):
    """A picture without a reward, after all tries; the message says why."""


async def compute_score(
    data_source: str,
    solution_image: Any,
    ground_truth: str,
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
    image = as_image(solution_image)
    source = (extra_info or {}).get("source_image")
    item = gen_item(ground_truth, image)
    if source is not None:
        item = edit_item(ground_truth, source, image)
    token = os.environ[token_env] if token_env else None
    async with RewardClient(server_url, token=token) as client:
        told = ""
        for _try in range(tries):
            (answer,) = await client.score([item])
            if answer["valid"]:
                judged = {f"firm_{axis}": one["value"] for axis, one in answer["scores"].items()}
                return {"score": answer["reward"], **judged}
            told = f"{answer['reason']} {answer['detail']}"
    raise Unscored(f"{data_source}: {told}")


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
