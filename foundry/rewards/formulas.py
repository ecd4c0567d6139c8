"""From scores to rewards and advantages. Pure, on scalars or arrays of any shape.

Scores are raw, 1 to 5, unless said otherwise. What is not known is NaN, and stays NaN: it never
becomes a number, and is left out of the statistics of its group.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
# What an edit keeps that spoils everything else, and a picture of the lowest quality (FIRM).
CME_BASE, QMA_BASE = 0.6, 0.4
# Standard deviations below this are no spread: rounding alone.
_NO_SPREAD = 1e-9


class Advantages(NamedTuple):
    """`values` in the shape of the rewards, and for each group whether all its rewards are equal.

    A group without spread teaches nothing: its values are 0, or NaN where the reward is.
    """

    values: Array
    no_spread: NDArray[np.bool_]


def normalise(score: ArrayLike) -> Array:
    """(s - 1) / 4: 1 to 5 becomes 0 to 1 (FIRM, arXiv 2603.12247). Outside of it: ValueError."""
    given = np.asarray(score, dtype=np.float64)
    if np.any((given < 1) | (given > 5)):
        raise ValueError("scores lie between 1 and 5")
    return (given - 1) / 4


def cme(execution: ArrayLike, consistency: ArrayLike, *, base: float = CME_BASE) -> Array:
    """FIRM's reward of an edit, 0 to 1: e (0.6 + 0.4 c), both normalised (arXiv 2603.12247).

    An edit that does nothing gets 0, however consistent. `base` is what an edit keeps that spoils
    everything else.
    """
    return normalise(execution) * (base + (1 - base) * normalise(consistency))


def qma(alignment: ArrayLike, quality: ArrayLike, *, base: float = QMA_BASE) -> Array:
    """FIRM's reward of a generated picture, 0 to 1: a (0.4 + 0.6 q), both normalised.

    Source: arXiv 2603.12247. `base` is what a picture of the lowest quality keeps.
    """
    return normalise(alignment) * (base + (1 - base) * normalise(quality))


def weighted_sum(scores: ArrayLike, weights: ArrayLike) -> Array:
    """Sum of normalised scores times weights, over the last axis. For comparison.

    On edits, RL on equal weights ended in doing nothing (arXiv 2603.12247). Weights that do not
    sum to 1: ValueError.
    """
    shares = np.asarray(weights, dtype=np.float64)
    if not np.isclose(shares.sum(), 1.0):
        raise ValueError(f"weights sum to {shares.sum():g}, not to 1")
    return (normalise(scores) * shares).sum(axis=-1)


def editscore(semantic: ArrayLike, perceptual: ArrayLike) -> Array:
    """sqrt(min(semantic) min(perceptual)), over the last axis of each (arXiv 2509.23909).

    In the scale of what is given, which is EditScore's own: not 1 to 5. Below 0: ValueError.
    """
    lowest = [np.min(np.asarray(s, dtype=np.float64), axis=-1) for s in (semantic, perceptual)]
    if any(np.any(s < 0) for s in lowest):
        raise ValueError("scores below 0 have no root")
    return np.sqrt(lowest[0] * lowest[1])


def win_rates(wins: ArrayLike) -> Array:
    """Share of its pairs that each candidate of a group wins (Pref-GRPO, as in arXiv 2602.02380).

    `wins` (..., G, G): of row i against column j 1 for i, 0 for j, 0.5 for a tie, NaN for a pair
    that was not decided; its diagonal is not looked at. A candidate without a decided pair has NaN.
    """
    given = np.array(wins, dtype=np.float64)
    n = given.shape[-1]
    given[..., np.arange(n), np.arange(n)] = np.nan
    return _mean(given)[..., 0]


def group_advantages(rewards: ArrayLike) -> Advantages:
    """(r - mean) / standard deviation of its group, the last axis (GRPO, arXiv 2402.03300).

    The deviation is that of the group, with no sample's correction and nothing added to it.
    """
    given = np.asarray(rewards, dtype=np.float64)
    away = given - _mean(given)
    deviation = np.sqrt(_mean(away**2))
    flat = ~(deviation > _NO_SPREAD)
    values = np.where(
        flat, np.where(np.isnan(given), np.nan, 0.0), away / np.where(flat, 1, deviation)
    )
    return Advantages(values, flat[..., 0])


def preference_advantages(
    categories: ArrayLike, overall: ArrayLike, *, alpha: float = 0.7
) -> Advantages:
    """Alpha times the mean over categories, and the rest overall, of standardised win rates.

    `categories` (C, G, G) and `overall` (G, G) as in `win_rates`; alpha is UnifiedReward-Flex's
    (arXiv 2602.02380). The flag says that no category and not the whole has spread.
    """
    parts, whole = group_advantages(win_rates(categories)), group_advantages(win_rates(overall))
    values = alpha * parts.values.mean(axis=-2) + (1 - alpha) * whole.values
    flat = np.logical_and(parts.no_spread.all(axis=-1), whole.no_spread)
    return Advantages(values, np.asarray(flat))


def weighted_advantages(rewards: ArrayLike, weights: ArrayLike) -> Advantages:
    """Sum over rewards of weight times advantage: each is standardised in its group first.

    `rewards` (..., R, G), `weights` (R,), so that a reward of wide spread does not rule the others
    (RealGen, arXiv 2512.00473). The flag says that no reward has spread.
    """
    each = group_advantages(rewards)
    shares = np.asarray(weights, dtype=np.float64)[:, None]
    flat = np.asarray(each.no_spread.all(axis=-1))
    return Advantages((each.values * shares).sum(axis=-2), flat)


def _mean(given: Array) -> Array:
    """Mean over the last axis, which stays, of what is known; NaN where nothing is."""
    known = ~np.isnan(given)
    n = known.sum(axis=-1, keepdims=True)
    total = np.where(known, given, 0.0).sum(axis=-1, keepdims=True)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)
