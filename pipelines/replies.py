"""What a server answered, and whether it can be used. Pure functions; nothing here is repaired.

A reply that cannot be used raises `ReplyInvalid` with a fault that says what and where. No path
through this module turns such a reply into a value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema.exceptions import best_match

from pipelines.fast_json import load_json
from schemas import accepts, validator

SCORES = (1, 2, 3, 4, 5)
_LABELS = frozenset(str(score) for score in SCORES)
# Of a reply: an object, a fenced block, a thought.
_BEGINNINGS = ("{", "`", "<")


class ReplyInvalid(Exception):
    """A reply that cannot be used.

    `reason` is a code for counting (`reply:schema`), `fault` a sentence for the log and the re-ask.
    """

    def __init__(self, reason: str, fault: str) -> None:
        super().__init__(f"{reason}: {fault}")
        self.reason = reason
        self.fault = fault


class NotACompletion(Exception):
    """A 200 whose body is no chat completion: the server or a proxy before it is in trouble."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of the n answers in a reply.

    `score_probs`: probability of each label 1..5 at the score token given the text before it,
    summing to 1, or None where the server gave no usable logprobs. `label_mass`, of a reply of one
    token alone: the probability that it is one of the labels, 0 to 1.
    """

    content: str | None
    finish_reason: str | None
    refusal: str | None = None
    reasoning_content: bool = False
    score_probs: list[float] | None = None
    label_mass: float | None = None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A finished reply, reduced to what is kept. Token counts are None where not given."""

    choices: tuple[Choice, ...]
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data for the journal."""
        # A shallow copy of each: dataclasses.asdict takes longer than reading the reply.
        return {**vars(self), "choices": [dict(vars(choice)) for choice in self.choices]}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Reply:
        """Back from the journal."""
        choices = tuple(Choice(**choice) for choice in value["choices"])
        return Reply(**{**value, "choices": choices})


def read_completion(body: bytes) -> Reply:
    """Read the body of a 200 answer of `/v1/chat/completions`.

    Raises NotACompletion when it is not one; whether its text is usable is another question.
    """
    try:
        value = load_json(body)
        choices = tuple(_read_choice(choice) for choice in value["choices"])
        usage = value.get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        reply = Reply(
            choices=choices,
            model=_text(value.get("model"), "model"),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
            cached_tokens=_count(details.get("cached_tokens")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        start = body[:120].decode("utf-8", "replace")
        raise NotACompletion(f"not a chat completion ({error!r}): {start!r}") from error
    if not choices:
        raise NotACompletion("a chat completion without choices")
    return reply


def _read_choice(choice: dict[str, Any]) -> Choice:
    message = choice["message"]
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        raise TypeError("message.content is not text")
    return Choice(
        content=content,
        finish_reason=_text(choice.get("finish_reason"), "finish_reason"),
        refusal=_text(message.get("refusal"), "message.refusal"),
        reasoning_content=bool(message.get("reasoning_content") or message.get("reasoning")),
        score_probs=score_probabilities(choice.get("logprobs"), content or ""),
        label_mass=_mass_of_labels(choice.get("logprobs")),
    )


def _text(value: Any, name: str) -> str | None:
    """Text that a column can hold, or None. Raises TypeError or UnicodeEncodeError for others."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} is not text")
    value.encode()
    return value


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**53 else None


def score_probabilities(logprobs: Any, content: str) -> list[float] | None:
    """Probabilities of the labels 1..5 at the score token, or None where they cannot be read.

    The score is the last value of the reply, so its token is the last one of `content` that is not
    closing punctuation; what follows the content is the model's own end of a reply. Under a grammar
    only the five labels are possible, so they sum to 1 as they are; anything else (a label missing,
    a sum far from 1, a token that is not just the digit) is None.
    """
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(tokens, list):
        return None
    within = False
    for entry in reversed(tokens):
        text = entry.get("token") if isinstance(entry, dict) else None
        if not isinstance(text, str):
            return None
        within = within or (text != "" and content.endswith(text))
        if not within or text.strip() in ("", "}"):
            continue
        if text.strip() not in ("1", "2", "3", "4", "5"):
            return None
        return _label_probabilities(entry.get("top_logprobs"))
    return None


def before_score(content: str) -> str | None:
    """The beginning of a reply up to its score, the last value; None where it does not end so."""
    found = re.fullmatch(r"(.*\"score\"\s*:\s*)[1-5]\s*\}\s*", content, re.DOTALL)
    return found[1] if found else None


def _mass_of_labels(logprobs: Any) -> float | None:
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(tokens, list) or len(tokens) != 1 or not isinstance(tokens[0], dict):
        return None
    # A server that does not continue a message begins a reply of its own.
    if str(tokens[0].get("token")).strip()[:1] in _BEGINNINGS:
        return None
    found = _probabilities(tokens[0].get("top_logprobs"))
    return min(1.0, sum(found.get(label, 0.0) for label in _LABELS)) if found else None


def _label_probabilities(alternatives: Any) -> list[float] | None:
    found = _probabilities(alternatives)
    if found is None or not found.keys() >= _LABELS:
        return None
    probs = [found[str(score)] for score in SCORES]
    total = sum(probs)
    return [p / total for p in probs] if abs(total - 1) < 0.01 else None


def _probabilities(alternatives: Any) -> dict[str, float] | None:
    """Probability of each alternative of a token, by its text without spaces around it."""
    if not isinstance(alternatives, list):
        return None
    found: dict[str, float] = {}
    for entry in alternatives:
        label = entry.get("token") if isinstance(entry, dict) else None
        value = entry.get("logprob") if isinstance(entry, dict) else None
        if not isinstance(label, str) or isinstance(value, bool):
            continue
        # Neither infinite nor NaN, nor an integer too large for a float.
        if isinstance(value, int | float) and -1e6 < value <= 1e-6:
            label = label.strip()
            found[label] = found.get(label, 0.0) + math.exp(value)
    return found


def parse_choice(choice: Choice, schema_id: str, exact_verdicts: int | None = None) -> dict:
    """The value a reply holds, satisfying the (narrowed) schema.

    Raises ReplyInvalid for a reply that was cut short, refused, is not JSON or breaks the schema.
    """
    if choice.finish_reason == "length":
        raise ReplyInvalid("reply:cut_short", "the reply was cut off before it was complete")
    if choice.refusal or choice.finish_reason == "content_filter":
        raise ReplyInvalid("reply:refused", f"refused: {str(choice.refusal or '')[:200]}")
    if choice.finish_reason != "stop":
        raise ReplyInvalid("reply:unfinished", f"finish reason is {choice.finish_reason!r}")
    if not choice.content:
        where = "; the text is in reasoning_content" if choice.reasoning_content else ""
        raise ReplyInvalid("reply:empty", f"the reply is empty{where}")
    value = _load_strictly(choice.content)
    if not accepts(schema_id, exact_verdicts)(value):
        error = best_match(validator(schema_id, exact_verdicts).iter_errors(value))
        where = "/" + "/".join(str(part) for part in error.absolute_path) if error else "/"
        what = error.message if error else "does not match"
        raise ReplyInvalid("reply:schema", f"{schema_id} at {where}: {what[:200]}")
    return value


def _load_strictly(text: str) -> Any:
    """json.loads, without what it forgives: doubled keys, NaN, NUL, half surrogates."""
    try:
        value = _STRICT.decode(text)
        if "\\u" in text or not text.isascii():
            json.dumps(value, ensure_ascii=False).encode()
            if "\\u0000" in text:
                raise ValueError("a NUL character")
    except (ValueError, RecursionError) as error:
        raise ReplyInvalid("reply:not_json", f"not valid JSON: {str(error)[:120]}") from error
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_STRICT = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)
