"""What ShapeBench found, as numbers and as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from foundry.evals.matching import match, same_check, same_difference
from foundry.evals.metrics import (
    best_constant,
    f1,
    interval,
    macro_f1,
    macro_mae,
    mae,
    quadratic_kappa,
    spearman,
)
from foundry.evals.shapebench import AXES_OF, TEACHERS, VOTES, Answers, Judged, Listed, Prediction
from pipelines.replies import SCORES

VERDICTS = ("yes", "partly", "no")
Row = dict[str, Any]


def measure(answers: Answers) -> Row:
    """Everything the report shows: `scores` (an entry an axis, mode and number of votes), `unseen`
    (of rows with held-out combinations), `constants`, `ratios` (method to direct), `lists` and
    `verdicts`. A measure is [value, lower end, upper end], None where it is undefined.
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
        "unseen": [
            _scores(_select(predictions, axis, mode, 1, unseen=True), axis=axis, mode=mode, votes=1)
            for axis, teacher in axes
            for mode in ("direct", teacher)
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
    }


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


def _scores(rows: Sequence[Prediction], *, axis: str, mode: str, votes: int) -> Row:
    given = [row for row in rows if row.score is not None]
    true, score = (np.array([getattr(r, name) for r in given], float) for name in ("true", "score"))
    groups = [row.group for row in given]
    result: Row = {
        "axis": axis,
        "mode": mode,
        "votes": votes,
        "rows": len(rows),
        "rejected": 1 - len(given) / max(1, len(rows)),
    }
    metrics = (mae, macro_mae, spearman, quadratic_kappa)
    for name, metric in zip(("mae", "macro_mae", "spearman", "kappa"), metrics, strict=True):
        result[name] = _with_interval(partial(_of, metric, true, score), groups)
    known = [row for row in given if row.expected is not None]
    true, expected = (np.array([getattr(r, n) for r in known], float) for n in ("true", "expected"))
    result["expected_rows"] = len(known)
    result["expected_mae"] = _with_interval(
        partial(_of, mae, true, expected), [row.group for row in known]
    )
    return result


def _of(metric: Callable[..., float], true: Any, given: Any, rows: Any) -> float:
    return metric(true[rows], given[rows])


def _with_interval(metric: Callable[[Any], float], groups: Sequence[str]) -> list[float] | None:
    """The measure of all rows, and the ends of its interval; None without rows."""
    if not groups:
        return None
    found = [metric(np.arange(len(groups))), *interval(metric, groups)]
    return None if np.isnan(found).any() else found


def _constants(rows: Sequence[Prediction], axis: str) -> Row:
    true = np.array([row.true for row in rows], float)
    return {
        "axis": axis,
        "spread": {s: float(np.mean(true == s)) for s in SCORES},
        "mae": best_constant(true, mae),
        "macro_mae": best_constant(true, macro_mae),
    }


def _ratio(
    method: Sequence[Prediction], direct: Sequence[Prediction], *, axis: str, votes: int
) -> Row:
    """Ratio of the two mean absolute errors, over rows that got both scores."""
    other = {row.row: row.score for row in direct if row.score is not None}
    both = [row for row in method if row.score is not None and row.row in other]
    true = np.array([row.true for row in both], float)
    scores = [np.array(s, float) for s in ([r.score for r in both], [other[r.row] for r in both])]

    def ratio(rows: Any) -> float:
        a, b = (mae(true[rows], given[rows]) for given in scores)
        return a / b if b else float("nan")

    found = _with_interval(ratio, [row.group for row in both])
    return {"axis": axis, "votes": votes, "rows": len(both), "mae_ratio": found}


def _lists(rows: Sequence[Listed], kind: str, same: Callable[..., bool]) -> Row:
    given = [row for row in rows if row.given is not None]
    counts = np.array(
        [
            (len(match(row.given or [], row.true, same)), len(row.given or []), len(row.true))
            for row in given
        ],
        float,
    ).reshape(-1, 3)
    groups = [row.group for row in given]
    measures = {
        "precision": lambda hits, said, true: hits / said if said else float("nan"),
        "recall": lambda hits, said, true: hits / true if true else float("nan"),
        "f1": f1,
    }
    return {
        "kind": kind,
        "lists": len(rows),
        "rejected": 1 - len(given) / max(1, len(rows)),
        **{
            name: _with_interval(partial(_of_counts, measure, counts), groups)
            for name, measure in measures.items()
        },
    }


def _of_counts(measure: Callable[..., float], counts: Any, rows: Any) -> float:
    return measure(*counts[rows].sum(axis=0))


def _verdicts(judged: Sequence[Judged]) -> Row:
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
        "accuracy": _with_interval(accuracy, groups),
        "macro_f1": _with_interval(f1_of, groups),
    }


def markdown(found: Row) -> str:
    """The tables of a report. In brackets: 95% intervals."""
    columns = ("MAE", "macro-MAE", "expected MAE", "Spearman", "kappa", "rejected")
    names = ("mae", "macro_mae", "expected_mae", "spearman", "kappa")
    lines = [_row("axis", "mode", "votes", "rows", *columns), _rule(10)]
    for s in found["scores"]:
        cells = (_cell(s.get(name)) for name in names)
        lines.append(
            _row(s["axis"], s["mode"], s["votes"], s["rows"], *cells, f"{s['rejected']:.1%}")
        )
    for c in found["constants"]:
        (by_mae, best), (by_macro, best_macro) = c["mae"], c["macro_mae"]
        mode = f"always {by_mae} (macro: {by_macro})"
        cells = (f"{best:.2f}", f"{best_macro:.2f}", "", "", "", "")
        lines.append(_row(c["axis"], mode, "", "", *cells))
    lines += ["", _row("axis", "votes", "MAE of the method / MAE of direct"), _rule(3)]
    lines += [_row(r["axis"], r["votes"], _cell(r["mae_ratio"])) for r in found["ratios"]]
    lines += ["", _row("items", "lists", "precision", "recall", "F1", "rejected"), _rule(6)]
    for one in found["lists"]:
        cells = (_cell(one[name]) for name in ("precision", "recall", "f1"))
        lines.append(_row(one["kind"], one["lists"], *cells, f"{one['rejected']:.1%}"))
    v = found["verdicts"]
    lines += ["", _row("verdicts", "of items matched", "accuracy", "macro-F1"), _rule(4)]
    cells = (_cell(v[name]) for name in ("accuracy", "macro_f1"))
    lines.append(_row(v["verdicts"], f"{v['matched']:.1%}", *cells))
    lines += ["", "Rows with combinations of shape and colour never trained on:", ""]
    lines += [_row("axis", "mode", "rows", "MAE", "macro-MAE"), _rule(5)]
    for s in found["unseen"]:
        cells = (_cell(s[name]) for name in ("mae", "macro_mae"))
        lines.append(_row(s["axis"], s["mode"], s["rows"], *cells))
    lines += [
        "",
        "A rejected reply has no score; each line measures the rows that have one.",
    ]
    return "\n".join(lines) + "\n"


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _rule(columns: int) -> str:
    return "|" + "---|" * columns


def _cell(value: list[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value[0]:.2f} ({value[1]:.2f}-{value[2]:.2f})"
