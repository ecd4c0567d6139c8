"""Identity of an answer: what it was asked about, with what, by which model, how.

It keys the journal and the stage tables. What matches is never asked again; what does not, is.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

_COMPACT = json.JSONEncoder(separators=(",", ":"))


def digest(value: Any) -> str:
    """Hex sha256 of a value's canonical JSON: sorted keys, no spaces.

    Raises TypeError for what JSON cannot hold, ValueError for NaN.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode()).hexdigest()


def answer_id(stage_digest: str, contents: tuple[str, ...]) -> str:
    """Hex id (32 digits) of the answer that a stage gives to these contents.

    `stage_digest` covers the prompts, schema, model, revision and sampling; `contents` are the
    texts and the sha256s of the pictures as the model sees them, in order.
    """
    text = _COMPACT.encode([stage_digest, *contents])
    return sha256(text.encode()).hexdigest()[:32]
