"""The wire formats of trainers that cannot be changed, on a port of their own.

FIRM's and its relatives' (flow_grpo, Edit-R1, DiffusionNFT): pickles over HTTP. They ask a 500
again, take any other body for scores, and have no word for "invalid". Flow-Factory's: JSON, and any
status from 400 up is a failure.
"""

from __future__ import annotations

import json
import logging
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any

from fastapi import FastAPI, Request, Response

from foundry.rewards.admission import Refused
from foundry.rewards.builtin_pickle import PickleRefused, load_builtins
from foundry.rewards.items import BadRequest
from foundry.rewards.service import Service, read_json
from foundry.rewards.trainer_formats import (
    Answers,
    Asked,
    Write,
    gen_writer,
    mean_answer,
    read_edits,
    read_flow_factory,
    read_pictures,
    write_rewards,
    write_scores,
)
from pipelines.rendering import AXES

_LOG = logging.getLogger(__name__)
_PICKLE = "application/octet-stream"
# Flow-Factory's client waits 60 s for an answer, three times, and then stops without a reason.
_FLOW_FACTORY_S = 50.0
_COMPUTED = {"rewards": "reward", "valid": "valid"}


class Unscored(Exception):
    """An item stayed invalid, and its trainer has no word for it."""


def make_wire(service: Service) -> FastAPI:
    """The routes: FIRM's edit and gen modes, and Flow-Factory's."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    settings = service.settings

    def pickled(
        path: str,
        read: Callable[..., Asked],
        writer: Callable[[Mapping[str, Any]], Write],
    ) -> None:
        def parse(body: bytes) -> tuple[Asked, Write]:
            value = load_builtins(body)
            return read(value, most=settings.max_items), writer(value)

        @app.post(path)
        async def route(request: Request) -> Response:
            with service.metrics.request(path) as status:
                try:
                    check_address(request, service)
                    async with service.body(request, parse, at_once=0) as (asked, write):
                        until = time.monotonic() + settings.deadline_s
                        answers = await answer_all(service, request, asked, until)
                    data = pickle.dumps(write(answers))
                except Exception as error:  # noqa: BLE001 - these trainers know 200 and 500 alone
                    status.code = 500
                    return Response(_told(error), 500, media_type="text/plain")
                status.code = 200
                return Response(data, media_type=_PICKLE)

    for axis in AXES:
        write = partial(write_scores, axis=axis)
        pickled(f"/mode/score_{axis}", partial(read_edits, axes=(axis,)), _always(write))
    pickled("/mode/logits_non_cot", partial(read_edits, axes=AXES), _always(write_rewards))
    qma = settings.gen_reward == "qma"
    pickled("/mode/score", read_pictures, partial(gen_writer, qma=qma))

    computed_s = min(settings.deadline_s, _FLOW_FACTORY_S)

    def parse_computed(body: bytes) -> Asked:
        return read_flow_factory(read_json(body), most=settings.max_items)

    @app.post("/compute")
    async def compute(request: Request) -> Response:
        with service.metrics.request("/compute") as status:
            try:
                check_address(request, service)
                # From now on, as its client counts.
                until = time.monotonic() + computed_s
                async with service.body(request, parse_computed) as asked:
                    answers = await answer_all(service, request, asked, until)
            except (BadRequest, Refused, Unscored) as error:
                status.code, found = _status(error), {"error": _told(error)}
            else:
                status.code = 200
                found = {name: [one[field] for one in answers] for name, field in _COMPUTED.items()}
            return Response(json.dumps(found), status.code, media_type="application/json")

    @app.get("/health")
    async def health() -> Response:
        return Response('{"status": "ok"}', media_type="application/json")

    return app


def _always(write: Write) -> Callable[[Mapping[str, Any]], Write]:
    return lambda value: write


async def answer_all(service: Service, request: Request, asked: Asked, until: float) -> Answers:
    """An answer with a reward for each item, in order, by `until` (of time.monotonic).

    Those that stay invalid get the mean of the valid ones of their group where the settings ask
    for that, with `valid` false. Raises Unscored, Refused.
    """
    items, groups = asked
    answers = await service.answer(request, items, until)
    bad = [answer for answer in answers if not answer["valid"]]
    wire = service.settings.trainer_wire
    if bad and (wire is None or wire.fallback is None):
        raise Unscored(f"{len(bad)} of {len(answers)} items, the first: {bad[0]['reason']}")
    found = [
        answer if answer["valid"] else _mean_of_group(i, answers, groups)
        for i, answer in enumerate(answers)
    ]
    service.metrics.fallbacks.inc(len(bad))
    return found


def _mean_of_group(at: int, answers: Answers, groups: Sequence[Any]) -> dict[str, Any]:
    others = [
        answer
        for answer, group in zip(answers, groups, strict=True)
        if answer["valid"] and group == groups[at]
    ]
    if not others:
        raise Unscored(f"{answers[at]['reason']}, and no other of its group has a score")
    return {**answers[at], **mean_answer(others)}


def check_address(request: Request, service: Service) -> None:
    """Raises Refused for a client that is neither on this machine nor in an allowed network."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host)
    except ValueError:
        raise Refused(403, "no address") from None
    # An address of IPv4 as a socket of IPv6 tells it.
    address = getattr(address, "ipv4_mapped", None) or address
    wire = service.settings.trainer_wire
    allowed = wire.allow if wire else ()
    if not (address.is_loopback or any(address in ip_network(net) for net in allowed)):
        raise Refused(403, f"{host} is not allowed; see trainer_wire.allow")


def _status(error: BadRequest | Refused | Unscored) -> int:
    match error:
        case BadRequest():
            return 400
        case Refused():
            return error.status
        case Unscored():
            return 503


def _told(error: Exception) -> str:
    if isinstance(error, Refused | BadRequest | PickleRefused | Unscored):
        return str(error)
    # Ours: the trainer hears its name alone, and whoever runs the server all of it.
    _LOG.error("an answer failed", exc_info=error)
    return type(error).__name__
