"""Scores that a judge is not sure of: votes that differ, probabilities that spread."""

from __future__ import annotations

import math
from collections.abc import Sequence


def entropy_bits(probs: Sequence[float]) -> float:
    """Entropy of the probabilities of the five scores, in bits: 0 (sure) to 2.32 (no idea)."""
    return -sum(p * math.log2(p) for p in probs if p > 0)


def find_disagreement(
    *,
    vote_spread: float,
    score_probs: Sequence[float] | None,
    most_spread: float,
    most_entropy: float,
) -> str | None:
    """How a judge disagrees with itself more than allowed, None where it does not.

    `vote_spread` and `most_spread` are population standard deviations in score points,
    `most_entropy` is in bits. Without `score_probs` the votes alone decide.
    """
    if vote_spread > most_spread:
        return f"votes spread {vote_spread:.2f}, allowed {most_spread:g}"
    if score_probs is not None and (entropy := entropy_bits(score_probs)) > most_entropy:
        return f"entropy {entropy:.2f} bits, allowed {most_entropy:g}"
    return None
