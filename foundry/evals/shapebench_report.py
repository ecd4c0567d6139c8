"""What ShapeBench found, as numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from foundry.evals.matching import match, same_check, same_difference
from foundry.evals.metrics import (
    best_constant,
    f1,
    macro_f1,
    macro_mae,
    mae,
    miss,
    of_rows,
    quadratic_kappa,
    spearman,
    with_interval,
)
from foundry.evals.shapebench import (
    AXES_OF,
    TEACHERS,
    VOTES,
    Answers,
    Cost,
    Judged,
    Listed,
    Prediction,
)
from pipelines.replies import SCORES

VERDICTS = ("yes", "partly", "no")
Found = dict[str, Any]


def measure(answers: Answers) -> Found:
    """Everything the report shows.

    `scores` (an entry an axis, mode and number of votes), `looks` (rows without and with held-out
    combinations), `constants`, `ratios` (method to direct), `lists`, `verdicts`, `items` (for
    comparing two reports). A measure is [value, lower end, upper end], [value] where it has no
    interval, None where it is undefined.
    """
    predictions = answers.predictions
    axes = [(axis, TEACHERS[kind]) for kind, names in AXES_OF.items() for axis in names]
    scores = [
        _scores(_select(predictions, axis, mode, votes), axis=axis, mode=mode, votes=votes)
        for axis, teacher in axes
        for mode in ("direct", teacher)
        for votes in VOTES
    ]
    return {
        "scores": scores,
        "looks": [
            {"unseen": unseen}
            | _scores(
                _select(predictions, axis, mode, 1, unseen=unseen), axis=axis, mode=mode, votes=1
            )
            for axis, teacher in axes
            for mode in ("direct", teacher)
            for unseen in (False, True)
        ],
        "constants": [
            _constants(_select(predictions, axis, "direct", 1), axis) for axis, _ in axes
        ],
        "ratios": [
            _ratio(
                _select(predictions, axis, teacher, votes),
                _select(predictions, axis, "direct", votes),
                axis=axis,
                votes=votes,
            )
            for axis, teacher in axes
            for votes in VOTES
        ],
        "lists": [
            _lists([one for one in answers.listed if one.kind == kind], kind, same)
            for kind, same in (("differences", same_difference), ("checklist", same_check))
        ],
        "verdicts": _verdicts(answers.judged),
        "items": _items(predictions),
    }


def _items(predictions: Sequence[Prediction]) -> list[Found]:
    """What each row was given on each axis in every way of asking, for comparing two reports."""
    found: dict[tuple[str, str], Found] = {}
    for p in predictions:
        item = {
            "id": p.row,
            "axis": p.axis,
            "part": "new combinations" if p.unseen else "known combinations",
            "group": p.group,
            "true": p.true,
            "given": {},
        }
        way = f"{p.mode}, {p.votes} vote{'s' * (p.votes > 1)}"
        found.setdefault((p.row, p.axis), item)["given"][way] = p.score
    return list(found.values())


def _select(
    predictions: Sequence[Prediction],
    axis: str,
    mode: str,
    votes: int,
    *,
    unseen: bool | None = None,
) -> list[Prediction]:
    return [
        p
        for p in predictions
        if (p.axis, p.mode, p.votes) == (axis, mode, votes) and unseen in (None, p.unseen)
    ]


def _scores(rows: Sequence[Prediction], *, axis: str, mode: str, votes: int) -> Found:
    given = [row for row in rows if row.score is not None]
    true, score = (np.array([getattr(r, name) for r in given], float) for name in ("true", "score"))
    groups = [row.group for row in given]
    result: Found = {
        "axis": axis,
        "mode": mode,
        "votes": votes,
        "rows": len(rows),
        "scored": len(given),
        "rejected": 1 - len(given) / max(1, len(rows)),
        "cost": _cost([row.cost for row in rows]),
        "worst_mae": _mean([miss(row.true, row.score) for row in rows]),
    }
    metrics = (mae, macro_mae, spearman, quadratic_kappa)
    for name, metric in zip(("mae", "macro_mae", "spearman", "kappa"), metrics, strict=True):
        result[name] = with_interval(partial(of_rows, metric, true, score), groups)
    known = [row for row in given if row.expected is not None]
    true, expected = (np.array([getattr(r, n) for r in known], float) for n in ("true", "expected"))
    result["expected_rows"] = len(known)
    result["expected_mae"] = with_interval(
        partial(of_rows, mae, true, expected), [row.group for row in known]
    )
    return result


def _cost(costs: Sequence[Cost | None]) -> Found:
    """Means over the answers that were asked for."""
    asked = [cost for cost in costs if cost is not None]
    names = ("prompt_tokens", "reply_tokens", "asked_again")
    return {"asked": len(asked)} | {n: _mean([getattr(cost, n) for cost in asked]) for n in names}


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _constants(rows: Sequence[Prediction], axis: str) -> Found:
    true = np.array([row.true for row in rows], float)
    return {
        "axis": axis,
        "spread": {s: float(np.mean(true == s)) for s in SCORES},
        "mae": best_constant(true, mae),
        "macro_mae": best_constant(true, macro_mae),
    }


def _ratio(
    method: Sequence[Prediction], direct: Sequence[Prediction], *, axis: str, votes: int
) -> Found:
    """Ratio of the two mean absolute errors, over rows that got both scores."""
    other = {row.row: row.score for row in direct if row.score is not None}
    both = [row for row in method if row.score is not None and row.row in other]
    true = np.array([row.true for row in both], float)
    scores = [np.array(s, float) for s in ([r.score for r in both], [other[r.row] for r in both])]

    def ratio(rows: Any) -> float:
        a, b = (mae(true[rows], given[rows]) for given in scores)
        return a / b if b else float("nan")

    found = with_interval(ratio, [row.group for row in both])
    return {"axis": axis, "votes": votes, "rows": len(both), "mae_ratio": found}


def _lists(rows: Sequence[Listed], kind: str, same: Callable[..., bool]) -> Found:
    """Of all lists together; one that was rejected counts as empty."""
    counts = np.array(
        [
            (len(match(row.given or [], row.true, same)), len(row.given or []), len(row.true))
            for row in rows
        ],
        float,
    ).reshape(-1, 3)
    groups = [row.group for row in rows]
    measures = {
        "precision": lambda hits, said, true: hits / said if said else float("nan"),
        "recall": lambda hits, said, true: hits / true if true else float("nan"),
        "f1": f1,
    }
    return {
        "kind": kind,
        "lists": len(rows),
        "rejected": _mean([row.given is None for row in rows]) or 0.0,
        "cost": _cost([row.cost for row in rows]),
        **{
            name: with_interval(partial(_of_counts, measure, counts), groups)
            for name, measure in measures.items()
        },
    }


def _of_counts(measure: Callable[..., float], counts: Any, rows: Any) -> float:
    return measure(*counts[rows].sum(axis=0))


def _verdicts(judged: Sequence[Judged]) -> Found:
    """Verdicts of the judge's own items against those of the true items that they match."""
    pairs: list[tuple[str, str, str]] = []
    asked = 0
    for one in judged:
        asked += len(one.given)
        for i, j in match(one.given, one.true, same_check):
            pairs.append((one.true[j]["verdict"], one.given[i]["verdict"], one.group))
    true, given = [p[0] for p in pairs], [p[1] for p in pairs]
    groups = [p[2] for p in pairs]

    def accuracy(rows: Any) -> float:
        return float(np.mean([true[i] == given[i] for i in rows]))

    def f1_of(rows: Any) -> float:
        return macro_f1([true[i] for i in rows], [given[i] for i in rows], VERDICTS)

    return {
        "verdicts": len(pairs),
        "matched": len(pairs) / max(1, asked),
        "accuracy": with_interval(accuracy, groups),
        "macro_f1": with_interval(f1_of, groups),
    }
