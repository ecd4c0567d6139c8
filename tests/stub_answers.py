"""Bodies of chat completions: choices, faults in them, and what stands around them."""

from __future__ import annotations

from typing import Any

import orjson
from stub_behaviour import Behaviour
from stub_replies import Dice, Filler, logprobs_json, violate

_PROSE = "The picture shows a kite over a small house, and I would call it a good one: 4 of 5."
_THOUGHT = "<think>\nLet me see.\n</think>\n\n"


def make_answer(
    behaviour: Behaviour,
    body: dict[str, Any],
    filler: Filler | None,
    digest: str,
    fault: str | None,
    picture_tokens: int,
) -> bytes:
    """The body of a 200 for a request; `filler` None: prose. Decided by `digest` alone."""
    choices: list[bytes] = []
    completion_tokens = 0
    for index in range(body.get("n") or 1):
        hit = behaviour.fault_choices is None or index < behaviour.fault_choices
        number = int(digest, 16) + index * 0x5851F42D
        text, tokens = _choice(behaviour, body, filler, index, number, fault if hit else None)
        choices.append(text)
        completion_tokens += tokens
    asked = 100 + picture_tokens
    details = {"cached_tokens": 48, "multimodal_tokens": picture_tokens}
    usage = {
        "prompt_tokens": asked,
        "completion_tokens": completion_tokens,
        "total_tokens": asked + completion_tokens,
        "prompt_tokens_details": details if behaviour.prompt_details else None,
    }
    head = {
        "id": f"chatcmpl-{digest}",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model"),
        "usage": usage,
        **behaviour.extra,
    }
    return orjson.dumps(head)[:-1] + b',"choices":[' + b",".join(choices) + b"]}"


def _choice(
    behaviour: Behaviour,
    body: dict[str, Any],
    filler: Filler | None,
    index: int,
    number: int,
    fault: str | None,
) -> tuple[bytes, int]:
    pieces: list[str] = []
    marks: list[Any] = []
    if filler is None:
        pieces.append(_PROSE)
    else:
        filler(Dice(number), pieces, marks, body.get("temperature") or 0.0)
    limit = (body.get("max_tokens") or body.get("max_completion_tokens") or 1 << 20) * 4
    if fault:
        pieces, limit = _spoil(fault, pieces, number, limit)
        marks = marks if fault == "length" else []
    content, finish = "".join(pieces), b'"stop"'
    if len(content) > limit:
        content, finish = content[:limit], b'"length"'
        pieces, marks = _cut(pieces, marks, limit)
    message: dict[str, Any] = {"role": "assistant", "content": content}
    switch = body.get("chat_template_kwargs") or {}
    if behaviour.thinking != "none" and switch.get("enable_thinking") is not False:
        if behaviour.thinking == "content":
            message["content"] = _THOUGHT + content
            pieces, marks = [message["content"]], []
        else:
            message |= {"content": None, behaviour.thinking_field: "Let me see. " + content}
    logprobs = b"null"
    if body.get("logprobs") and behaviour.gives_logprobs:
        logprobs = logprobs_json(pieces, marks)
    text = b'{"index":%d,"message":%b,"logprobs":%b,"finish_reason":%b}' % (
        index,
        orjson.dumps(message),
        logprobs,
        finish,
    )
    return text, 1 + len(content) // 4


def _spoil(fault: str, pieces: list[str], number: int, limit: int) -> tuple[list[str], int]:
    content = "".join(pieces)
    match fault:
        case "length":
            return pieces, min(limit, max(1, len(content) // 2))
        case "invalid_json":
            return [content[: len(content) * 2 // 3] + " ]}"], limit
        case "violate" if content.startswith("{"):
            return [violate(content, number)], limit
        case "refuse":
            return ["I'm sorry, but I can't help with judging this picture."], limit
        case "empty":
            return [""], limit
    return pieces, limit


def _cut(pieces: list[str], marks: list[Any], limit: int) -> tuple[list[str], list[Any]]:
    kept: list[str] = []
    for piece in pieces:
        if limit <= 0:
            break
        kept.append(piece[:limit])
        limit -= len(piece)
    return kept, [mark for mark in marks if mark[0] < len(kept)]
