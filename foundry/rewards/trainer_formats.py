"""What trainers with formats of their own send, and what they read. Pure.

FIRM's and its relatives' (flow_grpo, Edit-R1, DiffusionNFT), and Flow-Factory's. Facts: FIRM-Reward
at ba41493; how a reward is blended, at 575b715.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from statistics import fmean
from typing import Any

from foundry.rewards.formulas import normalise
from foundry.rewards.items import BadItem, BadRequest, RawItem
from foundry.rewards.scoring import QUALITY, QUALITY_PARTS
from pipelines.rendering import AXES, GEN_AXIS

Answers = list[dict[str, Any]]
# Items, and what each is a candidate for.
Asked = tuple[list[RawItem | BadItem], list[Any]]
Write = Callable[[Answers], dict[str, Any]]
# FIRM's words for what a gen reward is made of: alignment alone, QMA, or as the server is set.
_ALONE = ("ins", "instruction", "instruction_only")
_MIX = ("mix", "weighted_mix", "linear_mix")
_AS_SET = ("", "legacy", "server", "default")


def read_edits(value: Any, *, axes: Sequence[str], most: int) -> Asked:
    """Items of `{ref_images, images, prompts, metadatas}`. Raises BadRequest."""
    columns = _columns(value, "prompts", "ref_images", "images", most=most)
    return _edits(axes, *columns)


def read_pictures(value: Any, *, most: int) -> Asked:
    """Items of `{images, prompts, ...}`. Raises BadRequest."""
    return _pictures(*_columns(value, "prompts", "images", most=most))


def read_flow_factory(value: Any, *, most: int) -> Asked:
    """Items of Flow-Factory's request: edits where there are condition pictures.

    The first of an item's condition pictures is its source; further ones, references, are not
    shown to the judge. Raises BadRequest.
    """
    if isinstance(value, dict) and (value.get("video") or value.get("condition_videos")):
        raise BadRequest("videos are not scored")
    prompts, pictures = _columns(value, "prompt", "image", most=most)
    if not value.get("condition_images"):
        return _pictures(prompts, pictures)
    _, sources = _columns(value, "prompt", "condition_images", most=most)
    if any(not isinstance(source, list) or not source for source in sources):
        raise BadRequest("condition_images is a list of lists; the first of each is the source")
    return _edits(AXES, prompts, [source[0] for source in sources], pictures)


def _columns(value: Any, *names: str, most: int) -> list[list[Any]]:
    """Lists of one length, at most `most`. Raises BadRequest."""
    if not isinstance(value, dict):
        raise BadRequest("the body is no dict")
    columns = [value.get(name) for name in names]
    if any(not isinstance(column, list | tuple) for column in columns):
        raise BadRequest(f"lists are needed: {', '.join(names)}")
    lists = [list(column or ()) for column in columns]
    if len(set(map(len, lists))) != 1:
        raise BadRequest(f"lists of one length are needed: {', '.join(names)}")
    if len(lists[0]) > most:
        raise BadRequest(f"a request has at most {most} items")
    return lists


def _edits(axes: Sequence[str], prompts: list[Any], sources: list[Any], edited: list[Any]) -> Asked:
    rows = list(zip(prompts, sources, edited, strict=True))
    items: list[RawItem | BadItem] = [
        RawItem(kind="edit", axes=tuple(axes), text=text, pictures=(one, two))
        for text, one, two in rows
    ]
    return items, [(text, _digest(one)) for text, one, _ in rows]


def _digest(picture: Any) -> bytes | None:
    """What tells a source from others, bytes or text: it itself would be held until the answer.

    None for what is neither, of which no item is valid.
    """
    data = picture.encode(errors="replace") if isinstance(picture, str) else picture
    return sha256(data).digest() if isinstance(data, bytes) else None


def _pictures(prompts: list[Any], pictures: list[Any]) -> Asked:
    rows = zip(prompts, pictures, strict=True)
    items: list[RawItem | BadItem] = [
        RawItem(kind="gen", axes=(None,), text=text, pictures=(one,)) for text, one in rows
    ]
    return items, prompts


def mean_answer(others: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Scores and reward for an item that has none: the mean of others of its group.

    Quality is the one with which QMA makes that reward of the mean alignment, in each of its parts:
    FIRM's gen trainers blend the least of the parts themselves.
    """
    scores: dict[str, dict[str, Any]] = {
        axis: {"value": fmean(other["scores"][axis]["value"] for other in others)}
        for axis in others[0]["scores"]
    }
    if QUALITY in scores:
        shares = [other["scores"][GEN_AXIS]["value"] - 1 for other in others]
        values = [other["scores"][QUALITY]["value"] for other in others]
        value = fmean(values, shares if any(shares) else None)
        scores[QUALITY] = {"value": value, "parts": dict.fromkeys(QUALITY_PARTS, value)}
    return {"reward": fmean(other["reward"] for other in others), "scores": scores}


def write_scores(answers: Answers, *, axis: str) -> dict[str, Any]:
    """`scores`, 1 to 5, and `reasonings`."""
    scores = [answer["scores"][axis] for answer in answers]
    reasonings = [score.get("reasoning") or "" for score in scores]
    return _written(answers, [score["value"] for score in scores], reasonings)


def write_rewards(answers: Answers) -> dict[str, Any]:
    """`scores` from 0 to 1: the rewards."""
    return _written(answers, [answer["reward"] for answer in answers], [""] * len(answers))


def gen_writer(value: Mapping[str, Any], *, qma: bool) -> Write:
    """Writes what the reward is to be made of by the request's `reward_blend_mode`.

    `qma`: whether the server asks for quality too. `reward_quality_ratio` changes nothing, as in
    FIRM's own server. Raises BadRequest for what this server cannot give.
    """
    given = value.get("reward_blend_mode") or ""
    if not isinstance(given, str):
        raise BadRequest("reward_blend_mode is a text")
    mode = given.strip().lower()
    if mode not in (*_ALONE, *_MIX, *_AS_SET):
        raise BadRequest(f"no such reward_blend_mode: {mode[:80]}")
    if mode in _MIX and not qma:
        raise BadRequest(f"reward_blend_mode {mode} needs a server with gen_reward: qma")
    return partial(_write_gen, alone=mode in _ALONE or not qma)


def _write_gen(answers: Answers, *, alone: bool) -> dict[str, Any]:
    """`scores`, reward times 4 plus 1, and `reasonings`, each JSON of what it is made of."""
    parts = [_gen_parts(answer, alone) for answer in answers]
    scores = [4 * part["reward"] + 1 for part in parts]
    return _written(answers, scores, [json.dumps(part) for part in parts])


def _gen_parts(answer: Mapping[str, Any], alone: bool) -> dict[str, Any]:
    gen, quality = answer["scores"][GEN_AXIS], answer["scores"].get(QUALITY)
    parts = (quality or {}).get("parts") or {}
    numbers = [parts.get(name) for name in QUALITY_PARTS]
    alignment = float(normalise(gen["value"]))
    return {
        "ins_score": gen["value"],
        "ins_norm": alignment,
        "quality_score": quality and quality["value"],
        "quality_norm": quality and float(normalise(quality["value"])),
        "quality_subscores": numbers,
        **{f"quality_score{i}": number for i, number in enumerate(numbers, 1)},
        "reward": alignment if alone else answer["reward"],
        "reward_mode": "ins" if alone else "mix",
        "quality_ratio": 0.0 if alone else 0.6,
        "quality_evaluated": quality is not None,
        "ins_reasoning": gen.get("reasoning") or "",
        "quality_reasoning": (quality or {}).get("reasoning") or "",
        "valid": answer["valid"],
    }


def _written(answers: Answers, scores: list[float], reasonings: list[str]) -> dict[str, Any]:
    valid = [answer["valid"] for answer in answers]
    return {"scores": scores, "reasonings": reasonings, "valid": valid}
