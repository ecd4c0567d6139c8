"""What others have published of the same benchmarks: published.json, each table with its source."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def published(bench: str) -> dict[str, Any] | None:
    """The published table of a benchmark, None where there is none.

    `source`, `measure`, `columns`, `models` (a figure a column, null where none is published) and,
    for benchmarks with scores, `score_counts`: how many items have each true score 1 to 5, by axis.
    """
    text = (resources.files("foundry.evals") / "published.json").read_text("utf-8")
    return json.loads(text).get(bench)
