"""JSON as bytes, through orjson where it is installed: the logprobs make replies long.

The factory's requirements bring orjson; the base install does without, with the same values.
"""

from __future__ import annotations

import json
from typing import Any

try:
    import orjson
except ImportError:
    orjson = None

_COMPACT = json.JSONEncoder(separators=(",", ":"))


def load_json(data: bytes) -> Any:
    """The value of a JSON text. Raises ValueError, or RecursionError for one nested too deep."""
    if orjson is not None:
        try:
            return orjson.loads(data)
        except ValueError:
            pass  # json takes more, such as half surrogates; whoever reads the value decides.
    return json.loads(data)


def dump_json(value: Any) -> bytes:
    """Compact JSON text without a line break. Raises TypeError for what JSON cannot hold."""
    if orjson is not None:
        try:
            return orjson.dumps(value)
        except TypeError:
            pass  # Half surrogates again, or a very large whole number.
    return _COMPACT.encode(value).encode()
