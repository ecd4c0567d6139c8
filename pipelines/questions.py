"""A question about pictures, and the JSON by which a chat server is asked it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from schemas import request_schema


class RequestRefused(Exception):
    """The server refuses this request for good (a 4xx): the row's fault.

    `reason` is a code for counting: `request:too_long` or `request:refused`.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class SeenPicture:
    """A picture as the model sees it: sha256 of the bytes, where they are, and their format.

    With `data`, the bytes themselves, no file is looked at.
    """

    sha256: str
    path: str
    format: str
    data: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Question:
    """One request, before it is known who answers it.

    Order on the wire: `system`, then `pictures`, then `text`, so that questions about the same
    pictures share their beginning. `n` replies are asked for. `sticky` names what follow-ups share
    (a picture's sha256): they go to the server that has it. `hidden` is the part of the text that
    no rationale may cite, `visible` the part that it may, `original` an instruction that the reply
    may not repeat; none of them is sent. With `begun`, the beginning of a reply, one token more is
    asked for, held to no schema (vLLM's `continue_final_message`).
    """

    text: str
    schema_id: str
    max_tokens: int
    system: str | None = None
    pictures: tuple[SeenPicture, ...] = ()
    exact_verdicts: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    n: int = 1
    logprobs: bool = False
    sticky: str | None = None
    hidden: str | None = None
    visible: str = ""
    original: str | None = None
    begun: str | None = None


def seen_picture(picture: Mapping[str, Any]) -> SeenPicture:
    """What is sent of a picture struct of `rows/`, or of one in memory, with `seen_data`."""
    return SeenPicture(
        sha256=picture["seen_sha256"],
        path=picture["seen_path"],
        format=picture["seen_format"],
        data=picture.get("seen_data"),
    )


async def request_body(
    question: Question, *, known: frozenset[str], by_file: bool, model: str, extra_body: str
) -> bytes:
    """The JSON of a request. Assembled from parts: the schema and sampling are encoded once.

    Pictures that the server has (`known`, by sha256) are named, others sent: as bytes, or `by_file`
    as the path of a file that it can read. `extra_body` is the JSON of further fields. Raises
    RequestRefused for a picture that is gone or not what was read.
    """
    messages = []
    if question.system is not None:
        messages.append(_system_json(question.system))
    text = json.dumps(question.text)
    if question.pictures:
        new = tuple(p for p in question.pictures if p.sha256 not in known)
        sent: dict[str, str] = {}
        if new:
            if by_file:
                made = await asyncio.to_thread(_parts_by_file, new)
            elif all(p.data is not None for p in new):
                # Some microseconds; a thread costs more, and may have to be waited for.
                made = _parts_by_bytes(new)
            else:
                made = await asyncio.to_thread(_parts_by_bytes, new)
            sent = dict(zip((p.sha256 for p in new), made, strict=True))
        parts = [sent.get(p.sha256) or _part_by_uuid(p) for p in question.pictures]
        parts.append('{"type":"text","text":' + text + "}")
        content = "[" + ",".join(parts) + "]"
    else:
        content = text
    messages.append('{"role":"user","content":' + content + "}")
    if question.begun is not None:
        messages.append('{"role":"assistant","content":' + json.dumps(question.begun) + "}")
    settings = _settings_json(
        model,
        question.schema_id,
        question.exact_verdicts,
        question.temperature,
        question.top_p,
        question.max_tokens,
        question.seed,
        question.n,
        question.logprobs,
        question.begun is not None,
        extra_body,
    )
    return ('{"messages":[' + ",".join(messages) + "]," + settings).encode()


def _part_by_uuid(picture: SeenPicture) -> str:
    return '{"type":"image_url","image_url":null,"uuid":"' + picture.sha256 + '"}'


def _parts_by_file(pictures: tuple[SeenPicture, ...]) -> list[str]:
    parts = []
    for picture in pictures:
        _read_picture(picture)
        parts.append(_part_by_url(picture, json.dumps(Path(picture.path).absolute().as_uri())))
    return parts


def _parts_by_bytes(pictures: tuple[SeenPicture, ...]) -> list[str]:
    parts = []
    for picture in pictures:
        data = base64.b64encode(_read_picture(picture)).decode("ascii")
        parts.append(_part_by_url(picture, f'"data:image/{picture.format.lower()};base64,{data}"'))
    return parts


def _part_by_url(picture: SeenPicture, url_json: str) -> str:
    return (
        '{"type":"image_url","image_url":{"url":' + url_json + '},"uuid":"' + picture.sha256 + '"}'
    )


def _read_picture(picture: SeenPicture) -> bytes:
    if picture.data is not None:
        return picture.data
    try:
        data = Path(picture.path).read_bytes()
    except OSError as error:
        raise RequestRefused("picture:vanished", f"{picture.path}: {error.strerror}") from error
    # The row says what was judged, so what is sent must be that.
    if sha256(data).hexdigest() != picture.sha256:
        raise RequestRefused("picture:changed", f"{picture.path} changed since it was read")
    return data


@lru_cache(maxsize=16)
def _system_json(text: str) -> str:
    return json.dumps({"role": "system", "content": text})


@lru_cache(maxsize=1024)
def _settings_json(
    model: str,
    schema_id: str,
    exact_verdicts: int | None,
    temperature: float,
    top_p: float,
    max_tokens: int,
    seed: int | None,
    n: int,
    logprobs: bool,
    begun: bool,
    extra_body: str,
) -> str:
    """All but the messages, as the rest of a JSON object, closing brace included."""
    fields: dict[str, Any] = {
        "model": model,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "n": n,
    }
    if begun:
        fields |= {"continue_final_message": True, "add_generation_prompt": False}
    else:
        schema = request_schema(schema_id, exact_verdicts)
        named = {"name": schema_id.replace(".", "_"), "schema": schema, "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": named}
    if seed is not None:
        fields["seed"] = seed
    if logprobs:
        # Of a free token, as many as vLLM gives unless told otherwise.
        fields |= {"logprobs": True, "top_logprobs": 20 if begun else 5}
    fields |= json.loads(extra_body)
    return json.dumps(fields, separators=(",", ":"))[1:]
