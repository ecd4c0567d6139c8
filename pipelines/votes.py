"""From the votes of a row to its score: the majority, and what is known of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from pipelines.replies import SCORES


@dataclass(frozen=True, kw_only=True)
class Vote:
    """The score of a set of votes.

    `score`: 1-5, given by the vote at `index`. `scores`: every vote, in reply order.
    `spread`: population standard deviation of the votes, in score points (0 for one vote).
    `probs`: mean over the votes of the probabilities of 1..5, and `expected` the mean score under
    it (1.0-5.0); both None unless every vote came with probabilities.
    """

    score: int
    index: int
    scores: list[int]
    spread: float
    probs: list[float] | None
    expected: float | None


def majority(scores: Sequence[int]) -> int:
    """The most frequent score; of several, the one nearest the mean; of two as near, the lower.

    Raises ValueError for no votes or a vote outside 1-5.
    """
    if not scores or any(score not in SCORES for score in scores):
        raise ValueError(f"votes must be 1-5 and at least one, got {list(scores)}")
    if len(scores) == 1:
        return scores[0]
    counts = Counter(scores)
    most = max(counts.values())
    mean = fmean(scores)
    return min((s for s in counts if counts[s] == most), key=lambda s: (abs(s - mean), s))


def settle_votes(scores: Sequence[int], probs: Sequence[list[float] | None]) -> Vote:
    """Settle a row's score from its votes and their label probabilities (one entry a vote)."""
    score = majority(scores)
    known = [p for p in probs if p is not None]
    mean_probs = None
    if known and len(known) == len(scores):
        several = len(known) > 1
        mean_probs = [fmean(p) for p in zip(*known, strict=True)] if several else known[0]
    return Vote(
        score=score,
        index=list(scores).index(score),
        scores=list(scores),
        spread=pstdev(scores) if len(scores) > 1 else 0.0,
        probs=mean_probs,
        expected=None
        if mean_probs is None
        else sum(s * p for s, p in zip(SCORES, mean_probs, strict=True)),
    )
