"""Which rollouts of a row make pairs, and why a row makes none. Pure functions of one row.

A row is paired by itself: what other rows there are changes nothing here. Every choice between
equals is by the sha256 of the seed, the row and the rollouts: the same seed makes the same pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations, product
from typing import Literal

from pydantic import Field

from pipelines.gates.words import normalise_text
from pipelines.settings import Settings

PairKind = Literal["correct_vs_wrong", "both_correct_quality"]
Better = Literal["first", "second", "neither"]


class PairRules(Settings):
    """How rollouts are paired.

    `tolerance` is how far from the label, in score points, a rollout is still correct. A row makes
    at most `most_pairs`. The two rationales of a pair differ by at most `most_length_difference`
    characters, so that length is not what is learnt. `seed` decides between equals.
    """

    tolerance: int = Field(default=0, ge=0, le=2)
    most_pairs: int = Field(default=2, ge=1, le=16)
    most_length_difference: int = Field(default=200, ge=0, le=800)
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A usable reply of the student: its place among the replies, and what it says."""

    index: int
    score: int
    reasoning: str


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two rollouts of one row, the better one first."""

    kind: PairKind
    chosen: Rollout
    rejected: Rollout


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """What the rules make of a row's rollouts, before a judge has compared any.

    `pairs` are settled; `to_compare` are correct rollouts whose rationales are to be compared.
    `hard` says that no rollout is correct. `reason` says why there is neither a pair nor anything
    to compare, and is None for a hard row.
    """

    pairs: tuple[Pair, ...] = ()
    to_compare: tuple[tuple[Rollout, Rollout], ...] = ()
    hard: bool = False
    reason: str | None = None


def find_candidates(
    rollouts: Sequence[Rollout], label: int, *, rules: PairRules, row: str
) -> Candidates:
    """Pair correct rollouts with wrong ones, and fill up with correct ones to compare.

    `row` names the row for the seeded choices; `rollouts` are its usable ones, at least one.
    """
    distinct = _distinct(rollouts)
    correct = [r for r in distinct if is_correct(r.score, label, rules)]
    wrong = [r for r in distinct if not is_correct(r.score, label, rules)]
    if not correct:
        return Candidates(hard=True)
    pairs = _contrasts(correct, wrong, label, rules, row)
    to_compare = _equals(correct, rules, row)[: rules.most_pairs - len(pairs)]
    reason = None
    if not pairs and not to_compare:
        reason = _why_none(correct, wrong)
    return Candidates(pairs=tuple(pairs), to_compare=tuple(to_compare), reason=reason)


def is_correct(score: int, label: int, rules: PairRules) -> bool:
    """Whether a score is near enough to the label to count as it."""
    return abs(score - label) <= rules.tolerance


def settle_comparison(
    one: Rollout, other: Rollout, answer: Better, swapped: Better
) -> Pair | Literal["compare:neither", "compare:orders_disagree"]:
    """The pair that two comparisons agree on, or why there is none.

    `answer` is about `one` as the first and `other` as the second, `swapped` about the other order.
    """
    if answer == swapped == "neither":
        return "compare:neither"
    if (answer, swapped) == ("first", "second"):
        return Pair(kind="both_correct_quality", chosen=one, rejected=other)
    if (answer, swapped) == ("second", "first"):
        return Pair(kind="both_correct_quality", chosen=other, rejected=one)
    return "compare:orders_disagree"


def _distinct(rollouts: Sequence[Rollout]) -> list[Rollout]:
    """The first of each score and text: the same pair twice would count twice in a loss."""
    first: dict[tuple[int, str], Rollout] = {}
    for rollout in rollouts:
        first.setdefault((rollout.score, normalise_text(rollout.reasoning)), rollout)
    return list(first.values())


def _contrasts(
    correct: list[Rollout], wrong: list[Rollout], label: int, rules: PairRules, row: str
) -> list[Pair]:
    """Correct against wrong, the largest lead in distance from the label first."""

    def lead(pair: tuple[Rollout, Rollout]) -> int:
        return abs(pair[1].score - label) - abs(pair[0].score - label)

    near = [pair for pair in product(correct, wrong) if _alike_in_length(*pair, rules)]
    near.sort(key=lambda pair: (-lead(pair), _draw(rules.seed, row, pair)))
    return [
        Pair(kind="correct_vs_wrong", chosen=chosen, rejected=rejected)
        for chosen, rejected in _each_once(near)[: rules.most_pairs]
    ]


def _equals(correct: list[Rollout], rules: PairRules, row: str) -> list[tuple[Rollout, Rollout]]:
    """Correct rollouts with one score and two texts, in the order drawn by the seed."""
    near = [
        pair
        for pair in combinations(correct, 2)
        if pair[0].score == pair[1].score and _alike_in_length(*pair, rules)
    ]
    near.sort(key=lambda pair: _draw(rules.seed, row, pair))
    return _each_once(near)


def _each_once(pairs: list[tuple[Rollout, Rollout]]) -> list[tuple[Rollout, Rollout]]:
    """The pairs in order, without those of a rollout that stands in an earlier one."""
    used: set[int] = set()
    kept = []
    for one, other in pairs:
        if used.isdisjoint({one.index, other.index}):
            used |= {one.index, other.index}
            kept.append((one, other))
    return kept


def _alike_in_length(one: Rollout, other: Rollout, rules: PairRules) -> bool:
    difference = abs(len(one.reasoning) - len(other.reasoning))
    return difference <= rules.most_length_difference


def _why_none(correct: list[Rollout], wrong: list[Rollout]) -> str:
    if len(correct) == 1 and not wrong:
        return "pair:one_answer"
    scores = [rollout.score for rollout in correct]
    if not wrong and len(set(scores)) == len(scores):
        return "pair:scores_differ"
    return "pair:length_difference"


def _draw(seed: int, row: str, pair: tuple[Rollout, Rollout]) -> bytes:
    one, other = pair
    return sha256(f"{seed}/{row}/{one.index}/{other.index}".encode()).digest()
