"""Data inside a page: what a script tag may hold whatever texts are in it."""

from __future__ import annotations

import json
from typing import Any


def embed_json(value: Any) -> str:
    """JSON that is safe inside a script tag whatever texts it holds; pure ASCII."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
