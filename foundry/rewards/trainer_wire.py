"""The wire formats of trainers that cannot be changed, on a port of their own.

FIRM's and its relatives' (flow_grpo, Edit-R1, DiffusionNFT): pickles over HTTP. They ask a 500
again, take any other body for scores, and have no word for "invalid". Flow-Factory's: JSON, and any
status from 400 up is a failure. Facts: FIRM-Reward at ba41493.
"""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address, ip_network
from statistics import fmean
from typing import Any

from fastapi import FastAPI, Request, Response

from foundry.rewards.admission import Refused
from foundry.rewards.builtin_pickle import PickleRefused, load_builtins
from foundry.rewards.formulas import normalise
from foundry.rewards.items import BadItem, BadRequest, RawItem
from foundry.rewards.scoring import QUALITY, QUALITY_PARTS
from foundry.rewards.service import Service, read_json
from pipelines.rendering import AXES, GEN_AXIS

Answers = list[dict[str, Any]]
# Items, and what each is a candidate for.
Asked = tuple[list[RawItem | BadItem], list[Any]]
_PICKLE = "application/octet-stream"
_COMPUTED = {"rewards": "reward", "valid": "valid"}


class Unscored(Exception):
    """An item stayed invalid, and its trainer has no word for it."""


def make_wire(service: Service) -> FastAPI:
    """The routes: FIRM's edit and gen modes, and Flow-Factory's."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def pickled(read: Callable[[Any], Asked], write: Any) -> Any:
        async def route(request: Request) -> Response:
            try:
                check_address(request, service)
                async with service.body(request, load_builtins, at_once=0) as value:
                    asked = read(value)
                    value.clear()
                    answers = await answer_all(service, request, asked)
                return Response(pickle.dumps(write(answers)), media_type=_PICKLE)
            except Exception as error:  # noqa: BLE001 - these trainers understand 200 and 500 alone
                return Response(_fault(service, error), 500, media_type="text/plain")

        return route

    most = service.settings.max_items
    for axis in AXES:
        read = partial(read_edits, axes=(axis,), most=most)
        app.post(f"/mode/score_{axis}")(pickled(read, partial(write_scores, axis=axis)))
    read = partial(read_edits, axes=AXES, most=most)
    app.post("/mode/logits_non_cot")(pickled(read, write_rewards))
    app.post("/mode/score")(pickled(partial(read_pictures, most=most), write_gen))

    @app.post("/compute")
    async def compute(request: Request) -> Response:
        try:
            check_address(request, service)
            async with service.body(request, read_json) as value:
                asked = read_flow_factory(value, most=most)
                value.clear()
                answers = await answer_all(service, request, asked)
        except (BadRequest, Refused, Unscored) as error:
            status = 400 if isinstance(error, BadRequest) else getattr(error, "status", 503)
            told = _fault(service, error).decode()
            return Response(json.dumps({"error": told}), status, media_type="application/json")
        found = {name: [answer[one] for answer in answers] for name, one in _COMPUTED.items()}
        return Response(json.dumps(found), media_type="application/json")

    @app.get("/health")
    async def health() -> Response:
        return Response('{"status": "ok"}', media_type="application/json")

    return app


async def answer_all(service: Service, request: Request, asked: Asked) -> Answers:
    """An answer with a reward for each item, in order.

    Those that stay invalid get the mean of the valid ones of their group where the settings ask
    for that, with `valid` false. Raises Unscored, Refused.
    """
    items, groups = asked
    answers = await service.answer(request, items, time.monotonic() + service.settings.deadline_s)
    bad = [answer for answer in answers if not answer["valid"]]
    wire = service.settings.trainer_wire
    if bad and (wire is None or wire.fallback is None):
        raise Unscored(f"{len(bad)} of {len(answers)} items, the first: {bad[0]['reason']}")
    return [
        answer if answer["valid"] else _mean_of_group(i, answers, groups)
        for i, answer in enumerate(answers)
    ]


def _mean_of_group(at: int, answers: Answers, groups: Sequence[Any]) -> dict[str, Any]:
    others = [
        answer
        for answer, group in zip(answers, groups, strict=True)
        if answer["valid"] and group == groups[at]
    ]
    if not others:
        raise Unscored(f"{answers[at]['reason']}, and no other of its group has a score")
    axes = others[0]["scores"]
    scores = {
        axis: {"value": fmean(other["scores"][axis]["value"] for other in others)} for axis in axes
    }
    reward = fmean(other["reward"] for other in others)
    return {**answers[at], "reward": reward, "scores": scores}


def check_address(request: Request, service: Service) -> None:
    """Raises Refused for a client that is neither on this machine nor in an allowed network."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        raise Refused(403, "no address") from None
    wire = service.settings.trainer_wire
    allowed = wire.allow if wire else ()
    if not (address.is_loopback or any(address in ip_network(net) for net in allowed)):
        raise Refused(403, f"{host} is not allowed; see trainer_wire.allow")


def _fault(service: Service, error: Exception) -> bytes:
    known = isinstance(error, Refused | BadRequest | PickleRefused | Unscored)
    told = str(error) if known else type(error).__name__
    service.refused.labels("wire").inc()
    return told.encode()


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


def read_edits(value: Any, *, axes: Sequence[str], most: int) -> Asked:
    """Items of `{ref_images, images, prompts, metadatas}`. Raises BadRequest."""
    columns = _columns(value, "prompts", "ref_images", "images", most=most)
    return _edits(axes, *columns)


def read_pictures(value: Any, *, most: int) -> Asked:
    """Items of `{images, prompts, ...}`. Raises BadRequest."""
    return _pictures(*_columns(value, "prompts", "images", most=most))


def read_flow_factory(value: Any, *, most: int) -> Asked:
    """Items of Flow-Factory's request: edits where there are condition pictures, one an item.

    Raises BadRequest.
    """
    if isinstance(value, dict) and (value.get("video") or value.get("condition_videos")):
        raise BadRequest("videos are not scored")
    prompts, pictures = _columns(value, "prompt", "image", most=most)
    if not value.get("condition_images"):
        return _pictures(prompts, pictures)
    _, sources = _columns(value, "prompt", "condition_images", most=most)
    if any(not isinstance(source, list) or len(source) != 1 for source in sources):
        raise BadRequest("an edit has one condition picture, its source")
    return _edits(AXES, prompts, [source[0] for source in sources], pictures)


def _edits(axes: Sequence[str], prompts: list[Any], sources: list[Any], edited: list[Any]) -> Asked:
    rows = list(zip(prompts, sources, edited, strict=True))
    items: list[RawItem | BadItem] = [
        RawItem(kind="edit", axes=tuple(axes), text=text, pictures=(one, two))
        for text, one, two in rows
    ]
    return items, [(text, one) for text, one, _ in rows]


def _pictures(prompts: list[Any], pictures: list[Any]) -> Asked:
    rows = zip(prompts, pictures, strict=True)
    items: list[RawItem | BadItem] = [
        RawItem(kind="gen", axes=(None,), text=text, pictures=(one,)) for text, one in rows
    ]
    return items, prompts


def write_scores(answers: Answers, *, axis: str) -> dict[str, Any]:
    """`scores`, 1 to 5, and `reasonings`."""
    scores = [answer["scores"][axis] for answer in answers]
    return _said(answers, [score["value"] for score in scores], scores)


def write_rewards(answers: Answers) -> dict[str, Any]:
    """`scores` from 0 to 1: the rewards."""
    rewards = [answer["reward"] for answer in answers]
    return _said(answers, rewards, [{} for _ in answers])


def _said(
    answers: Answers, scores: list[float], said: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    reasonings = [one.get("reasoning") or "" for one in said]
    return {
        "scores": scores,
        "reasonings": reasonings,
        "valid": [answer["valid"] for answer in answers],
    }


def write_gen(answers: Answers) -> dict[str, Any]:
    """`scores`, reward times 4 plus 1, and `reasonings`, each JSON of what it is made of."""
    found = _said(answers, [4 * answer["reward"] + 1 for answer in answers], [])
    return found | {"reasonings": [json.dumps(_gen_parts(answer)) for answer in answers]}


def _gen_parts(answer: Mapping[str, Any]) -> dict[str, Any]:
    gen, quality = answer["scores"][GEN_AXIS], answer["scores"].get(QUALITY)
    parts = (quality or {}).get("parts") or {}
    numbers = [parts.get(name) for name in QUALITY_PARTS]
    return {
        "ins_score": gen["value"],
        "ins_norm": float(normalise(gen["value"])),
        "quality_score": quality and quality["value"],
        "quality_norm": quality and float(normalise(quality["value"])),
        "quality_subscores": numbers,
        **{f"quality_score{i}": number for i, number in enumerate(numbers, 1)},
        "reward": answer["reward"],
        "reward_mode": "qma" if quality else "alignment",
        "quality_ratio": 0.6 if quality else 0.0,
        "quality_evaluated": quality is not None,
        "ins_reasoning": gen.get("reasoning") or "",
        "quality_reasoning": (quality or {}).get("reasoning") or "",
        "valid": answer["valid"],
    }
