"""What a row is: JSON Schema files (draft 2020-12), and what is derived from them.

One file serves three readers: the server constrains its reply with it, `validator` checks the
reply here, and `arrow_type` gives the column type of the table that keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

try:
    import jsonschema_rs
except ImportError:
    jsonschema_rs = None

if TYPE_CHECKING:
    import pyarrow as pa


def schema_ids() -> list[str]:
    """Ids of all schema files, such as `gen_score.v1`, sorted."""
    files = resources.files(__name__).iterdir()
    return sorted(f.name.removesuffix(".json") for f in files if f.name.endswith(".json"))


@cache
def schema_text(schema_id: str) -> str:
    """The schema file as it stands. Raises FileNotFoundError naming the known ids."""
    try:
        return (resources.files(__name__) / f"{schema_id}.json").read_text("utf-8")
    except FileNotFoundError:
        known = ", ".join(schema_ids())
        raise FileNotFoundError(f"no schema '{schema_id}'; there are: {known}") from None


def load_schema(schema_id: str) -> dict[str, Any]:
    """A fresh copy of a schema, safe to narrow. Raises FileNotFoundError for an unknown id."""
    return json.loads(schema_text(schema_id))


def schema_sha256(schema_id: str) -> str:
    """Hex sha256 of the schema file: part of the identity of every answer asked with it."""
    return sha256(schema_text(schema_id).encode()).hexdigest()


@cache
def request_schema(schema_id: str, exact_verdicts: int | None = None) -> dict[str, Any]:
    """The schema as it goes to the server and to the validator; shared, so never change it.

    `exact_verdicts` (3 to 12) narrows `verdicts` to one entry for each of c1..cn, in that order.
    Descriptions are left out: they are for readers, and some servers count them as tokens.
    """
    schema = _without_descriptions(load_schema(schema_id))
    if exact_verdicts is not None:
        verdicts = schema["properties"]["verdicts"]
        item = verdicts.pop("items")
        verdicts["prefixItems"] = [
            {**item, "properties": {**item["properties"], "id": {"const": f"c{i}"}}}
            for i in range(1, exact_verdicts + 1)
        ]
        verdicts |= {"items": False, "minItems": exact_verdicts, "maxItems": exact_verdicts}
    return schema


@cache
def validator(schema_id: str, exact_verdicts: int | None = None) -> Draft202012Validator:
    """A compiled validator for `request_schema(...)`, made once and reused."""
    return Draft202012Validator(request_schema(schema_id, exact_verdicts))


@cache
def accepts(schema_id: str, exact_verdicts: int | None = None) -> Callable[[Any], bool]:
    """Whether a value satisfies `request_schema(...)`, without saying why not.

    With jsonschema-rs installed, which the factory's requirements bring, it takes microseconds
    where `validator` takes tens to hundreds; the same answer either way.
    """
    if jsonschema_rs is not None:
        return jsonschema_rs.Draft202012Validator(
            request_schema(schema_id, exact_verdicts)
        ).is_valid
    return validator(schema_id, exact_verdicts).is_valid


def max_characters(schema: dict[str, Any]) -> int:
    """Upper bound of the characters of the compact JSON text that satisfies a schema.

    Raises ValueError for a schema without bounds: such a reply could never end.
    """
    if "const" in schema:
        return len(json.dumps(schema["const"]))
    if "enum" in schema:
        return max(len(json.dumps(value)) for value in schema["enum"])
    match schema.get("type"):
        case "boolean":
            return len("false")
        case "string" if "maxLength" in schema:
            return schema["maxLength"] + 2
        case "array" if "prefixItems" in schema:
            return 2 + sum(max_characters(item) + 1 for item in schema["prefixItems"])
        case "array" if "maxItems" in schema:
            return 2 + schema["maxItems"] * (max_characters(schema["items"]) + 1)
        case "object":
            parts = schema["properties"].items()
            return 2 + sum(len(name) + 4 + max_characters(part) for name, part in parts)
    raise ValueError(f"schema part without a bound: {schema}")


def arrow_type(schema: dict[str, Any]) -> pa.DataType:
    """The Arrow type that holds a value of a schema: objects are structs, arrays are lists.

    Raises ValueError for a part that has no Arrow counterpart here.
    """
    import pyarrow as pa

    match schema.get("type"):
        case "object":
            return pa.struct([(k, arrow_type(v)) for k, v in schema["properties"].items()])
        case "array":
            return pa.list_(arrow_type(schema["items"]))
        case "string":
            return pa.string()
        case "boolean":
            return pa.bool_()
        case "integer":
            return pa.int64()
        case "number":
            return pa.float64()
    raise ValueError(f"no Arrow type for schema part {schema}")


def _without_descriptions(part: Any) -> Any:
    if isinstance(part, dict):
        # A property may itself be named "description": only text values are annotations.
        drop = {"description", "title", "$id", "$schema"}
        return {
            key: _without_descriptions(value)
            for key, value in part.items()
            if not (key in drop and isinstance(value, str))
        }
    if isinstance(part, list):
        return [_without_descriptions(value) for value in part]
    return part
