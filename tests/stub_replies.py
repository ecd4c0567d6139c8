"""Replies of the stub server: any JSON Schema filled from a number, with logprobs like vLLM's.

Everything here is a pure function of its arguments, so equal requests get equal replies.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import orjson

# Words, digits and escapes a parser must not stumble over: a "4" or "score" that is no score.
_TEXT = (
    "the red kite stands near a small wooden door under soft evening light while two birds rest "
    "on 4 stones and café sign reads open 3 times with blue glass left of grey wall tall green "
    "bottle score seems calm behind large round table its shadow falls across wet paved road"
)
_WORDS = _TEXT.split()
_TOKEN = re.compile(r"\\u[0-9a-f]{4}|\\.| ?[^\W\d_]+|\d| |[^\w\s]+|.", re.DOTALL)
_MASK = (1 << 64) - 1


class Dice:
    """A stream of numbers from a seed; much cheaper to make than `random.Random`."""

    __slots__ = ("state",)

    def __init__(self, seed: int) -> None:
        self.state = (seed ^ 0x9E3779B97F4A7C15) & _MASK

    def below(self, limit: int) -> int:
        """The next number in 0..limit-1."""
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & _MASK
        return (self.state >> 33) % limit

    def share(self) -> float:
        """The next number in [0, 1)."""
        return self.below(1 << 24) / (1 << 24)


def _make_phrases() -> list[str]:
    dice, phrases = Dice(7), []
    for _ in range(4096):
        words = [_WORDS[dice.below(len(_WORDS))] for _ in range(4 + dice.below(5))]
        phrases.append(" ".join(words))
    return phrases


_PHRASES = _make_phrases()

# A filler appends JSON text to `out`; the index of every integer-enum piece goes to `marks` with
# its labels and their probabilities.
Filler = Callable[[Dice, list[str], list[tuple[int, list[str], list[float]]], float], None]


def fill(schema: dict[str, Any], seed: int, *, temperature: float = 0.0) -> str:
    """Compact JSON text that satisfies the schema, decided by the seed."""
    out: list[str] = []
    compile_filler(schema)(Dice(seed), out, [], temperature)
    return "".join(out)


def exactly(schema: Any, items: int | None) -> Any:
    """The schema with every list that may hold so many items narrowed to just that many."""
    if items is None or not isinstance(schema, dict | list):
        return schema
    if isinstance(schema, list):
        return [exactly(part, items) for part in schema]
    narrowed = {name: exactly(part, items) for name, part in schema.items()}
    is_list = schema.get("type") == "array"
    if is_list and schema.get("minItems", 0) <= items <= schema.get("maxItems", 0):
        narrowed |= {"minItems": items, "maxItems": items}
    return narrowed


def compile_filler(schema: dict[str, Any]) -> Filler:
    """Turn a schema into a function that writes one value of it."""
    if "const" in schema:
        return _constant(schema["const"])
    if "enum" in schema:
        labels = [json.dumps(value, ensure_ascii=False) for value in schema["enum"]]
        whole = all(type(value) is int for value in schema["enum"])
        return _scores(labels) if whole else _choice(labels)
    match schema.get("type"):
        case "object":
            return _object(schema)
        case "array":
            return _array(schema)
        case "string":
            return _string(schema.get("minLength", 0), schema.get("maxLength", 400))
        case "boolean":
            return _choice(["true", "false"])
        case "integer":
            low = schema.get("minimum", 0)
            return _integer(low, schema.get("maximum", low + 9))
        case "number":
            low = schema.get("minimum", 0)
            return _integer(math.ceil(low), math.floor(schema.get("maximum", low + 9)))
        case "null":
            return _constant(None)
    if "anyOf" in schema:
        return compile_filler(schema["anyOf"][0])
    raise ValueError(f"the stub cannot fill {schema}")


def _constant(value: Any) -> Filler:
    text = json.dumps(value, ensure_ascii=False)
    return lambda dice, out, marks, temperature: out.append(text)


def _choice(labels: list[str]) -> Filler:
    return lambda dice, out, marks, temperature: out.append(labels[dice.below(len(labels))])


def _integer(low: int, high: int) -> Filler:
    return lambda dice, out, marks, temperature: out.append(str(low + dice.below(high - low + 1)))


def _scores(labels: list[str]) -> Filler:
    def write(dice: Dice, out: list[str], marks: list, temperature: float) -> None:
        weights = [math.exp(4 * dice.share()) for _ in labels]
        total = sum(weights)
        probs = [w / total for w in weights]
        at = probs.index(max(probs))
        if temperature > 0:
            left = dice.share()
            for at, prob in enumerate(probs):  # noqa: B007 - the last label takes what is left
                left -= prob
                if left < 0:
                    break
        marks.append((len(out), [labels[at], *(x for i, x in enumerate(labels) if i != at)],
                      [probs[at], *(p for i, p in enumerate(probs) if i != at)]))  # fmt: skip
        out.append(labels[at])

    return write


def _string(low: int, high: int) -> Filler:
    phrases = 1 if high <= 200 else 3

    def write(dice: Dice, out: list[str], marks: list, temperature: float) -> None:
        text = _PHRASES[dice.below(4096)]
        for _ in range(dice.below(phrases) if phrases > 1 else 0):
            text += ", " + _PHRASES[dice.below(4096)]
        while len(text) < low:
            text += " " + _PHRASES[dice.below(4096)]
        # A cut may leave a space at the end; a reader that strips must still find enough text.
        text = text[:high].rstrip().ljust(low, "x")
        out.append('"' + text + '"')

    return write


def _object(schema: dict[str, Any]) -> Filler:
    parts: list[tuple[str, Filler]] = []
    for i, (name, part) in enumerate(schema.get("properties", {}).items()):
        key = json.dumps(name, ensure_ascii=False) + ":"
        parts.append((("{" if i == 0 else ",") + key, compile_filler(part)))

    def write(dice: Dice, out: list[str], marks: list, temperature: float) -> None:
        for key, part in parts:
            out.append(key)
            part(dice, out, marks, temperature)
        out.append("}" if parts else "{}")

    return write


def _array(schema: dict[str, Any]) -> Filler:
    prefix = [compile_filler(part) for part in schema.get("prefixItems", [])]
    rest = schema.get("items", {"const": 0})
    item = compile_filler(rest) if isinstance(rest, dict) else None
    low = schema.get("minItems", len(prefix))
    high = schema.get("maxItems", max(low, len(prefix)) + (3 if item else 0))
    high = high if item else min(high, len(prefix))

    def write(dice: Dice, out: list[str], marks: list, temperature: float) -> None:
        count = low + dice.below(min(high, low + 4) - low + 1)
        for i in range(count):
            out.append("," if i else "[")
            part = prefix[i] if i < len(prefix) else item
            if part:
                part(dice, out, marks, temperature)
        out.append("]" if count else "[]")

    return write


@lru_cache(maxsize=50_000)
def token_json(token: str) -> bytes:
    """One `logprobs.content` entry: a sure token, and four others hardly likely."""
    others = [t for t in ("the", " a", '"', ",", "1", " of") if t != token][:4]
    top = [_entry(token, -0.01), *(_entry(t, -6.0 - i) for i, t in enumerate(others))]
    return orjson.dumps({**_entry(token, -0.01), "top_logprobs": top})


def logprobs_json(pieces: list[str], marks: list[tuple[int, list[str], list[float]]]) -> bytes:
    """`logprobs` of a choice: tokens that join to the content, five labels at each score."""
    scores = {index: (labels, probs) for index, labels, probs in marks}
    entries: list[bytes] = []
    for index, piece in enumerate(pieces):
        if index in scores:
            labels, probs = scores[index]
            top = [_entry(x, math.log(p)) for x, p in zip(labels, probs, strict=True)]
            first = top[0]
            top.sort(key=lambda entry: -entry["logprob"])
            entries.append(orjson.dumps({**first, "top_logprobs": top}))
        else:
            entries += _pieces_json(piece)
    return b'{"content":[' + b",".join(entries) + b"]}"


@lru_cache(maxsize=50_000)
def _pieces_json(piece: str) -> tuple[bytes, ...]:
    return tuple(token_json(token) for token in _TOKEN.findall(piece))


def _entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def violate(content: str, seed: int) -> str:
    """The same reply made invalid for a schema of closed objects with all keys required."""
    value = json.loads(content)
    keys = list(value)
    match seed % 3:
        case 0:
            value.pop(keys[-1])
        case 1:
            value["extra"] = 1
        case _:
            value[keys[-1]] = None
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
