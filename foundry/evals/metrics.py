"""Measures of scores against true scores, and their bootstrap intervals.

Scores are 1-5. A row without a score is not in the arrays: its share is reported apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from pipelines.replies import SCORES

Array = np.ndarray[Any, Any]
Metric = Callable[..., float]
RESAMPLES = 1000


def mae(true: Array, given: Array, weights: Array | None = None) -> float:
    """Mean absolute error, in score points; `weights` says how many rows each stands for."""
    return float(np.average(np.abs(true - given), weights=weights)) if len(true) else float("nan")


def macro_mae(true: Array, given: Array) -> float:
    """Mean of the mean absolute errors at each true score that occurs, rare or not."""
    return float(np.mean([mae(true[true == s], given[true == s]) for s in np.unique(true)]))


def spearman(true: Array, given: Array) -> float:
    """Rank correlation, -1 to 1; NaN where either is constant."""
    if len(np.unique(true)) < 2 or len(np.unique(given)) < 2:
        return float("nan")
    # As stats.spearmanr, without its significance, which costs ten times as much.
    return float(np.corrcoef(stats.rankdata(true), stats.rankdata(given))[0, 1])


def quadratic_kappa(true: Array, given: Array, weights: Array | None = None) -> float:
    """Cohen's kappa with quadratic weights, for integer scores 1-5; NaN where nothing varies.

    `weights` says how many rows each stands for, at least 1 (each for itself, if left out).
    Source: Cohen (1968), 1 - sum(w observed) / sum(w expected) with w = (i - j)^2.
    """
    observed = np.zeros((5, 5))
    times = 1 if weights is None else weights
    np.add.at(observed, (true.astype(int) - 1, given.astype(int) - 1), times)
    expected = np.outer(observed.sum(1), observed.sum(0)) / max(1, observed.sum())
    squares = np.subtract.outer(np.arange(5), np.arange(5)) ** 2
    by_chance = float((squares * expected).sum())
    return 1 - float((squares * observed).sum()) / by_chance if by_chance else float("nan")


def best_constant(true: Array, metric: Metric) -> tuple[int, float]:
    """The one score that does best when it is given to every row, and its measure."""
    found = {score: metric(true, np.full(len(true), score)) for score in SCORES}
    score = min(found, key=lambda s: found[s])
    return score, found[score]


def f1(hits: float, given: float, true: float) -> float:
    """Harmonic mean of precision (hits / given) and recall (hits / true); 1 of two empty lists."""
    return 2 * hits / (given + true) if given + true else 1.0


def macro_f1(true: Sequence[str], given: Sequence[str], labels: Sequence[str]) -> float:
    """Mean over labels that occur of the F1 of each."""
    found = []
    for label in labels:
        hits = sum(t == g == label for t, g in zip(true, given, strict=True))
        counts = (sum(g == label for g in given), sum(t == label for t in true))
        if counts[1]:
            found.append(f1(hits, *counts))
    return float(np.mean(found)) if found else float("nan")


def interval(
    metric: Callable[[Array], float], groups: Sequence[Any], *, seed: int = 0
) -> tuple[float, float]:
    """The 95% bootstrap interval (percentiles) of a measure of rows, given their indices.

    `groups` names the group of each row; whole groups are drawn, since rows of one group share a
    picture or a prompt. Draws for which the measure is undefined are left out. NaN where there is
    one group alone: drawn again and again it never varies, and that is not certainty.
    """
    members: dict[Any, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    if len(members) < 2:
        return float("nan"), float("nan")
    rows = np.concatenate([np.array(some) for some in members.values()])
    sizes = np.array([len(some) for some in members.values()])
    starts = np.cumsum(sizes) - sizes
    dice = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES):
        drawn = dice.integers(len(sizes), size=len(sizes))
        ends = np.cumsum(sizes[drawn])
        # Where each row of the draw stands in `rows`: groups one after another.
        shifts = np.repeat(starts[drawn] - ends + sizes[drawn], sizes[drawn])
        found.append(metric(rows[np.arange(ends[-1]) + shifts]))
    known = [value for value in found if not np.isnan(value)]
    if not known:
        return float("nan"), float("nan")
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)


def with_interval(metric: Callable[[Array], float], groups: Sequence[Any]) -> list[float] | None:
    """A measure of all rows, and the ends of its interval, which are left out where it has none.

    None without rows, or where the measure is undefined.
    """
    if not groups or np.isnan(value := metric(np.arange(len(groups)))):
        return None
    ends = interval(metric, groups)
    return [value] if np.isnan(ends).any() else [value, *ends]


def of_rows(metric: Metric, true: Array, given: Array, rows: Array) -> float:
    """A measure of some of the rows, given their indices."""
    return metric(true[rows], given[rows])


def miss(true: float, given: float | None) -> float:
    """How far off a score is, in score points; one that is missing is the furthest there is."""
    return furthest(true) if given is None else abs(true - given)


def furthest(true: float) -> float:
    """How far off the score is that is furthest from a true one, in score points."""
    return max(abs(true - score) for score in SCORES)
