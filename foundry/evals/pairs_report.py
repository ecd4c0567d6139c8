"""Preferences against human ones, as numbers: of each axis, and of each part of it.

A judge of one picture at a time prefers the one it gives more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foundry.evals.asking import VOTES, Answers, ByMode, content_of, reward
from foundry.evals.bench import OVERALL, Pair, asked_axes
from foundry.evals.metrics import Array, with_interval
from foundry.evals.scores_report import Found
from pipelines.rendering import AXES

# Products of the same scores in another order differ in their last bits.
SAME = 1e-9
Sides = tuple[float | None, float | None]


def measure_pairs(pairs: Sequence[Pair], by_mode: ByMode, answers: Answers) -> Found:
    """Everything the report shows.

    `slices`, an entry an axis: how people chose, an entry a mode, those of each part, and how often
    one half of the votes prefers what the other half does. `items` is for comparing two reports.
    """
    return {
        "slices": [
            _slice(axis, [pair for pair in pairs if pair.axis == axis], by_mode, answers)
            for axis in dict.fromkeys(pair.axis for pair in pairs)
        ],
        "items": [
            {
                "id": pair.id,
                "axis": pair.axis,
                "part": pair.part,
                "group": pair.group,
                "content": content_of(
                    answers,
                    *((row, asked_axes(pair.axis)[0]) for row in (pair.first, pair.second)),
                ),
                "human": pair.human,
                "given": {
                    mode: sides
                    for mode, given in by_mode.items()
                    if (sides := sides_of(pair, given)) is not None
                },
            }
            for pair in pairs
        ],
    }


def sides_of(pair: Pair, given: Mapping[tuple[str, str], float | None]) -> Sides | None:
    """What a mode gives both pictures: score points, or of an edit as a whole its reward.

    None for a picture whose reply could not be used; None at all where the mode says nothing.
    """
    axes = asked_axes(pair.axis)
    if any((row, axis) not in given for row in (pair.first, pair.second) for axis in axes):
        return None
    first, second = (_value(row, pair.axis, given) for row in (pair.first, pair.second))
    return first, second


def _value(row: str, axis: str, given: Mapping[tuple[str, str], float | None]) -> float | None:
    if axis != OVERALL:
        return given[row, axis]
    execution, consistency = (given[row, name] for name in AXES)
    if execution is None or consistency is None:
        return None
    return reward(execution, consistency)


def preference(sides: Sides) -> int | None:
    """1: the first is preferred, -1: the second, 0: neither; None where one has no score."""
    first, second = sides
    if first is None or second is None:
        return None
    return 0 if abs(first - second) < SAME else (1 if first > second else -1)


def outcomes(humans: Sequence[str], sides: Sequence[Sides]) -> dict[str, Array]:
    """Of each pair that people decided: 0 or 1 as it is right strictly, with a tie for half, a tie,
    a failure, decided for the first. A failure is wrong in both accuracies.
    """
    wanted = [1 if human == "first" else -1 for human in humans]
    told = [preference(pair) for pair in sides]
    strict = np.array([t == w for t, w in zip(told, wanted, strict=True)], float)
    ties = np.array([t == 0 for t in told], float)
    return {
        "strict": strict,
        "half": strict + ties / 2,
        "ties": ties,
        "failed": np.array([t is None for t in told], float),
        "first": np.array([t == 1 for t in told], float),
    }


def mean_of_parts(right: Array, parts: Array, rows: Array) -> float:
    """Mean over the parts, such as task types, of the mean of each that occurs.

    `parts` numbers the part of each row from 0.
    """
    counts = np.bincount(parts[rows])
    sums = np.bincount(parts[rows], weights=right[rows])
    return float((sums[counts > 0] / counts[counts > 0]).mean())


def _slice(axis: str, pairs: Sequence[Pair], by_mode: ByMode, answers: Answers) -> Found:
    decided = [pair for pair in pairs if pair.human != "tie"]
    first = [pair.human == "first" for pair in decided]
    return {
        "slice": axis,
        "n": len(decided),
        "human_ties": len(pairs) - len(decided),
        "always_first": float(np.mean(first)) if first else None,
        "repeated": _repeated(decided, answers),
        "modes": [{"mode": mode, **_mode(decided, given)} for mode, given in by_mode.items()],
    }


def _mode(pairs: Sequence[Pair], given: Mapping[tuple[str, str], float | None]) -> Found:
    told = [(pair, sides) for pair in pairs if (sides := sides_of(pair, given)) is not None]
    groups = [pair.group for pair, _ in told]
    names, parts = np.unique([pair.part for pair, _ in told], return_inverse=True)
    found = outcomes([pair.human for pair, _ in told], [sides for _, sides in told])

    def mean(name: str) -> list[float] | None:
        return with_interval(lambda rows: float(found[name][rows].mean()), groups)

    def macro(name: str) -> list[float] | None:
        return with_interval(lambda rows: mean_of_parts(found[name], parts, rows), groups)

    chosen = len(told) - found["ties"].sum() - found["failed"].sum()
    result: Found = {
        "n": len(told),
        "failures": int(found["failed"].sum()),
        "strict": mean("strict"),
        "half": mean("half"),
        "tie_rate": mean("ties"),
        "first_rate": float(found["first"].sum() / chosen) if chosen else None,
    }
    if len(names) > 1:
        result |= {"macro_strict": macro("strict"), "macro_half": macro("half")}
        result["parts"] = [
            {
                "part": str(name),
                "n": int((parts == part).sum()),
                **{what: float(values[parts == part].mean()) for what, values in found.items()},
            }
            for part, name in enumerate(names)
        ]
    return result


def _repeated(pairs: Sequence[Pair], answers: Answers) -> list[float] | None:
    """Share of pairs for which both halves of the votes prefer the same, or neither."""
    halves: list[dict[tuple[str, str], float | None]] = [{}, {}]
    for key, answer in answers.items():
        votes: list[Any] = answer.sampled.get("vote_scores") or []
        for half, some in zip(halves, (votes[: VOTES // 2], votes[VOTES // 2 :]), strict=True):
            half[key] = float(np.mean(some)) if some else None
    same, groups = [], []
    for pair in pairs:
        told = [preference(sides) for half in halves if (sides := sides_of(pair, half))]
        if len(told) == len(halves) and None not in told:
            same.append(float(told[0] == told[1]))
            groups.append(pair.group)
    found = np.array(same)
    return with_interval(lambda rows: float(found[rows].mean()), groups)
