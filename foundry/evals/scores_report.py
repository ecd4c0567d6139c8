"""Scores against human ones, as numbers: of each axis, each part of it, and all edits together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from foundry.evals.bench import Item
from foundry.evals.metrics import (
    best_constant,
    macro_mae,
    mae,
    miss,
    of_rows,
    quadratic_kappa,
    spearman,
    with_interval,
)
from foundry.evals.modes import ByMode, DirectAnswers, content_of, scores_by_mode
from pipelines.rendering import AXES
from pipelines.replies import SCORES

Found = dict[str, Any]
T = TypeVar("T")
EDIT = "edit"


def measure_scores(items: Sequence[Item], answers: DirectAnswers) -> Found:
    """Everything the report shows.

    `slices`, each with how many items there are of each true score, all constants, and an entry a
    mode; `items`, for comparing two reports. A measure is [value, lower end, upper end], [value]
    where it has no interval, None where it is undefined.
    """
    by_mode = scores_by_mode(answers)
    return {
        "slices": [
            {"slice": name, **_slice(some, by_mode)}
            for name, some in slices(items, lambda item: (item.axis, item.part)).items()
        ],
        "items": [
            {
                "id": item.id,
                "axis": item.axis,
                "part": item.part,
                "group": item.group,
                "content": content_of(answers, (item.row, item.axis)),
                "true": item.true,
                "given": {
                    mode: given[item.row, item.axis]
                    for mode, given in by_mode.items()
                    if (item.row, item.axis) in given
                },
            }
            for item in items
        ],
    }


def slices(
    items: Sequence[T], about: Callable[[T], tuple[str, str]], *, scores: bool = True
) -> dict[str, list[T]]:
    """The items of each axis, of each part of it, and of both axes of edits where it is `scores`.

    `about` says the axis and the part of an item. Both axes together weigh each item the same, as
    FIRM's overall figure does.
    """
    by_axis: dict[str, dict[str, list[T]]] = {}
    for item in items:
        axis, part = about(item)
        by_axis.setdefault(axis, {}).setdefault(part, []).append(item)
    found: dict[str, list[T]] = {}
    for axis, parts in by_axis.items():
        if len(parts) > 1:
            found |= {f"{axis} {part}".strip(): some for part, some in parts.items()}
        found[axis] = [item for item in items if about(item)[0] == axis]
    if scores and found.keys() >= set(AXES):
        found[EDIT] = [item for item in items if about(item)[0] in AXES]
    return found


def _slice(items: Sequence[Item], by_mode: ByMode) -> Found:
    true = np.array([item.true for item in items], float)
    constants = {score: np.full(len(true), float(score)) for score in SCORES}
    return {
        "n": len(items),
        "score_counts": [int((true == score).sum()) for score in SCORES],
        "constants": {
            score: {"mae": mae(true, given), "macro_mae": macro_mae(true, given)}
            for score, given in constants.items()
        },
        "best_constant": {"mae": best_constant(true, mae)[0],
                          "macro_mae": best_constant(true, macro_mae)[0]},
        "modes": [{"mode": mode, **_mode(items, given)} for mode, given in by_mode.items()],
    }  # fmt: skip


def _mode(items: Sequence[Item], given: Mapping[tuple[str, str], float | None]) -> Found:
    """Of the items that the mode says something of, be it a failure."""
    told = [(item, given[item.row, item.axis]) for item in items if (item.row, item.axis) in given]
    scored = [(item, score) for item, score in told if score is not None]
    true = np.array([item.true for item, _ in scored], float)
    score = np.array([score for _, score in scored], float)
    groups = [item.group for item, _ in scored]
    misses = np.array([miss(item.true, score) for item, score in told])
    measures = {"mae": mae, "macro_mae": macro_mae, "spearman": spearman}
    if (score == score.round()).all():
        measures["kappa"] = quadratic_kappa
    return {
        "n": len(told),
        "failures": len(told) - len(scored),
        "worst_mae": with_interval(
            lambda rows: float(misses[rows].mean()), [item.group for item, _ in told]
        ),
        "kappa": None,
        **{
            name: with_interval(partial(of_rows, measure, true, score), groups)
            for name, measure in measures.items()
        },
    }
