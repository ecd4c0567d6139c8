"""A fast yes for a value that satisfies a schema; a no means nothing, jsonschema decides then.

Nearly all replies are valid, and jsonschema needs as long for one as all else that is done with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Check = Callable[[Any], bool]


class _NotCovered(Exception):
    """A part of a schema that only jsonschema can judge."""


def compile_check(schema: dict[str, Any]) -> Check:
    """A function that is True only for values which satisfy the schema.

    It covers what our schema files are made of; with any other keyword it is always False.
    """
    try:
        return _check(schema)
    except _NotCovered:
        return lambda value: False


def _check(schema: dict[str, Any]) -> Check:
    kind, keywords = schema.get("type"), set(schema) - {"type"}
    if keywords == {"const"}:
        return _one_of([schema["const"]], kind)
    if keywords == {"enum"}:
        return _one_of(schema["enum"], kind)
    if kind == "object" and keywords == {"properties", "required", "additionalProperties"}:
        return _object(schema)
    if kind == "array" and keywords <= {"items", "prefixItems", "minItems", "maxItems"}:
        return _array(schema)
    if kind == "string" and keywords <= {"minLength", "maxLength"}:
        low, high = schema.get("minLength", 0), schema.get("maxLength", float("inf"))
        return lambda value: type(value) is str and low <= len(value) <= high
    if kind == "boolean" and not keywords:
        return lambda value: type(value) is bool
    raise _NotCovered


def _one_of(labels: list[Any], kind: str | None) -> Check:
    # One exact type: in Python True is 1, in JSON it is not.
    for name, exact in (("string", str), ("integer", int)):
        if kind in (None, name) and all(type(label) is exact for label in labels):
            allowed = frozenset(labels)
            return lambda value: type(value) is exact and value in allowed
    raise _NotCovered


def _object(schema: dict[str, Any]) -> Check:
    parts = [(name, _check(part)) for name, part in schema["properties"].items()]
    names = set(schema["properties"])
    if schema["additionalProperties"] is not False or set(schema["required"]) != names:
        raise _NotCovered

    def check(value: Any) -> bool:
        if type(value) is not dict or value.keys() != names:
            return False
        return all(part(value[name]) for name, part in parts)

    return check


def _array(schema: dict[str, Any]) -> Check:
    first = [_check(part) for part in schema.get("prefixItems", [])]
    low, high = schema.get("minItems", 0), schema.get("maxItems", float("inf"))
    rest: Check | None = None
    if schema.get("items", False) is False:
        high = min(high, len(first))
    else:
        rest = _check(schema["items"])

    def check(value: Any) -> bool:
        if type(value) is not list or not low <= len(value) <= high:
            return False
        n = len(first)
        if not all(part(item) for part, item in zip(first, value, strict=False)):
            return False
        return rest is None or all(rest(item) for item in value[n:])

    return check
