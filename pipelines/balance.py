"""Balance: quotas of scores on an axis, and a seeded choice of the rows that fill them.

FIRM's scores are skewed, edits to the ends and generated pictures to the top, and a reward model
trained on them learns the skew. Only rows are left out, none is repeated, and no score is changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import polars as pl

from pipelines.rendering import GEN_AXIS
from pipelines.replies import SCORES

STEPS = 100


@dataclass(frozen=True, kw_only=True)
class Balanced:
    """How one axis of one split was balanced, counts in order of the scores 1 to 5.

    `effective_before` and `effective_after` are what the rows are worth when they are weighted to
    the target instead: Kish's effective sample size, n / sum(target^2 / share).
    `largest_deviation` is that of a score's share from its target.
    """

    split: str
    axis: str | None
    target: list[float]
    before: list[int]
    after: list[int]
    kept_share: float
    effective_before: float
    effective_after: float
    largest_deviation: float


def choose_rows(
    rows: pl.DataFrame,
    targets: Mapping[str, Sequence[float]],
    *,
    tolerance: float,
    least_kept: float,
    seed: int,
) -> tuple[pl.Series, list[Balanced]]:
    """Which rows stand, as booleans in their order, and what was done for each split and axis.

    `rows` has `row_id`, `split`, `axis` (null for gen) and `score`. An axis without a target keeps
    all its rows. Of the rows with one score those stand whose sha256 of seed, axis and id is least,
    so that more rows of the others change little.
    """
    rows = rows.select("row_id", "split", "axis", "score").with_row_index("place")
    kept = [True] * rows.height
    done = []
    for (split, axis), group in sorted(
        rows.group_by("split", "axis", maintain_order=True), key=lambda entry: str(entry[0])
    ):
        target = targets.get(str(axis or GEN_AXIS))
        if target is None:
            continue
        before = [group.filter(pl.col("score") == score).height for score in SCORES]
        after = quotas(before, target, tolerance=tolerance, least_kept=least_kept)
        for score, quota in zip(SCORES, after, strict=True):
            some = group.filter(pl.col("score") == score)
            # A score's rows in an order of their own: (digest, place) of each.
            drawn = sorted(
                (sha256(f"{seed}/{axis}/{row_id}".encode()).digest(), place)
                for row_id, place in some.select("row_id", "place").iter_rows()
            )
            for _, place in drawn[quota:]:
                kept[place] = False
        begun = Balanced(
            split=str(split),
            axis=axis if axis is None else str(axis),
            target=list(target),
            before=before,
            after=before,
            kept_share=1.0,
            effective_before=effective_size(before, target),
            effective_after=0.0,
            largest_deviation=0.0,
        )
        done.append(with_counts(begun, after))
    return pl.Series("kept", kept, dtype=pl.Boolean), done


def with_counts(balanced: Balanced, after: list[int]) -> Balanced:
    """The same for the rows of each score that were really written."""
    return replace(
        balanced,
        after=after,
        kept_share=sum(after) / sum(balanced.before),
        effective_after=effective_size(after, balanced.target),
        largest_deviation=_deviation(after, balanced.target),
    )


def quotas(
    counts: Sequence[int], target: Sequence[float], *, tolerance: float, least_kept: float
) -> list[int]:
    """How many rows of each score stand.

    Every score gets its share of one total, or all its rows where it has fewer. That total is as
    large as it can be with no score's share further than `tolerance` from its target, but for less
    than a row, and keeps at least `least_kept` of all rows, however far from the target that is. A
    score with a share of 0 has none, though fewer than `least_kept` be left.
    """
    if not any(counts):
        return [0] * len(counts)
    full = max(n / share for n, share in zip(counts, target, strict=True) if share)
    within = _largest(
        lambda total: _deviation(_filled(counts, target, total), target) <= tolerance, full
    )
    least = _largest(
        lambda total: sum(_filled(counts, target, total)) < least_kept * sum(counts), full
    )
    return _whole(counts, target, max(within, least), math.ceil(least_kept * sum(counts) - 1e-6))


def _whole(counts: Sequence[int], target: Sequence[float], total: float, least: int) -> list[int]:
    """Whole rows of each score, at least `least` together where there are so many to be had.

    Those cut by most come first when rows are to be added (largest remainder).
    """
    parts = _filled(counts, target, total)
    # The small number is what floats lose.
    found = [int(part + 1e-6) for part in parts]
    wanted = max(int(sum(parts) + 1e-6), least)
    by_loss = sorted(range(len(parts)), key=lambda i: found[i] - parts[i])
    while sum(found) < wanted:
        room = [i for i in by_loss if target[i] and found[i] < counts[i]]
        if not room:
            break
        for i in room[: wanted - sum(found)]:
            found[i] += 1
    return found


def _largest(holds: Callable[[float], bool], most: float) -> float:
    """The largest total up to `most` for which something holds that holds up to some total."""
    if holds(most):
        return most
    low, high = 0.0, most
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _filled(counts: Sequence[int], target: Sequence[float], total: float) -> list[float]:
    return [min(n, total * share) for n, share in zip(counts, target, strict=True)]


def _deviation(counts: Sequence[float], target: Sequence[float]) -> float:
    n = sum(counts)
    if not n:
        return max(target)
    return max(abs(count / n - share) for count, share in zip(counts, target, strict=True))


def effective_size(counts: Sequence[int], target: Sequence[float]) -> float:
    """Kish's effective size of rows weighted to a target; 0 where a score that it wants is missing.

    Source: L. Kish, Survey Sampling (1965): (sum of weights)^2 / sum of squared weights.
    """
    wanted = [(n, share) for n, share in zip(counts, target, strict=True) if share]
    if not all(n for n, _ in wanted):
        return 0.0
    return 1 / sum(share * share / n for n, share in wanted)
