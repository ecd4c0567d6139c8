"""Scores read from replies, and their distance from those of the data. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from foundry.evals.metrics import best_constant, mae
from pipelines.rendering import student_prompt_id
from pipelines.replies import Choice, ReplyInvalid, parse_choice
from prompts import load_prompt


def read_score(reply: Choice, *, axis: str | None, score_only: bool) -> int | None:
    """The score of a reply, as the factory would read it; None for one that it could not use."""
    prompt_id = student_prompt_id(edit=axis is not None, score_only=score_only)
    schema_id = load_prompt(prompt_id).output_schema
    if schema_id is None:
        raise ValueError(f"prompt {prompt_id} has no output_schema")
    try:
        return parse_choice(reply, schema_id)["score"]
    except ReplyInvalid:
        return None


def measures(way: str, triples: Sequence[tuple[str, int, int | None]]) -> dict[str, Any]:
    """Measures of (axis, score of the data, score given or None), by name.

    `<way>_mae` in score points is of the rows that were given a score, None where there is none;
    `<way>_unread` counts the others. `<way>_constant_mae` is the best that one score for all could
    do on all rows. Several axes have measures of their own.
    """
    axes = sorted({axis for axis, _, _ in triples})
    parts = {way: triples}
    if len(axes) > 1:
        parts |= {f"{way}_{axis}": [t for t in triples if t[0] == axis] for axis in axes}
    found: dict[str, Any] = {}
    for name, part in parts.items():
        read = [(true, given) for _, true, given in part if given is not None]
        true, given = np.array([t for t, _ in read]), np.array([g for _, g in read])
        found[f"{name}_mae"] = mae(true, given) if read else None
        found[f"{name}_unread"] = len(part) - len(read)
        found[f"{name}_rows"] = len(part)
        found[f"{name}_constant_mae"] = best_constant(np.array([t for _, t, _ in part]), mae)[1]
    return found
