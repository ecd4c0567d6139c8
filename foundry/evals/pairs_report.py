"""Preferences against human ones, as numbers: of each axis, and of each part of it.

A judge of one picture at a time prefers the one it gives more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from foundry.evals.asking_pairs import AS_GIVEN, BOTH, SWAPPED, Choices
from foundry.evals.bench import OVERALL, Pair, asked_axes
from foundry.evals.metrics import Array, with_interval
from foundry.evals.modes import (
    VOTES,
    DirectAnswers,
    content_of,
    mean_of,
    scores_by_mode,
    votes_of,
)
from foundry.evals.scores_report import Found
from foundry.rewards.formulas import cme
from pipelines.answers import Row
from pipelines.identity import digest
from pipelines.rendering import AXES

# Products of the same scores in another order differ in their last bits.
SAME = 1e-9
# What both pictures of a pair are given; None for one that has no score.
Sides = tuple[float | None, float | None]
# The sides of each pair as each mode has them; None where the mode says nothing of the pair.
Given = Mapping[str, Sequence[Sides | None]]


def measure_alone(pairs: Sequence[Pair], answers: DirectAnswers) -> Found:
    """Everything the report shows of a judge that scores one picture at a time.

    As `_measure`; in each slice, `repeated` says how often one half of the votes prefers what the
    other half does.
    """
    by_mode = scores_by_mode(answers)
    given = {mode: [sides_of(pair, some) for pair in pairs] for mode, some in by_mode.items()}
    contents = [
        content_of(answers, *((row, asked_axes(pair.axis)[0]) for row in (pair.first, pair.second)))
        for pair in pairs
    ]
    found = _measure(pairs, given, contents)
    for one in found["slices"]:
        one["repeated"] = _repeated([p for p in pairs if p.axis == one["slice"]], answers)
    return found


def measure_together(pairs: Sequence[Pair], choices: Sequence[Choices]) -> Found:
    """Everything the report shows of a judge that sees both pictures at once.

    As `_measure`; in the slice, `orders` says how often both orders prefer the same (`consistent`),
    and how often the picture shown first is chosen (`shown_first`).
    """
    given: dict[str, list[Sides | None]] = {
        AS_GIVEN: [_chosen(one.as_given, first="first") for one in choices],
        SWAPPED: [_chosen(one.swapped, first="second") for one in choices],
    }
    given[BOTH] = [_mean(*both) for both in zip(given[AS_GIVEN], given[SWAPPED], strict=True)]
    contents = [
        digest([one.as_given[f"{side}_image_sha256"] for side in ("first", "second")])[:16]
        for one in choices
    ]
    found = _measure(pairs, given, contents)
    (of_all,) = found["slices"]
    of_all["orders"] = _orders(pairs, choices)
    return found


def _chosen(answer: Row, *, first: str) -> Sides:
    """1 for the picture that was chosen and 0 for the other.

    `first` is the place in the request that the pair's first picture had.
    """
    if answer["status"] != "ok":
        return None, None
    return (1.0, 0.0) if answer["choice"] == first else (0.0, 1.0)


def _mean(one: Sides | None, other: Sides | None) -> Sides:
    """The share of both orders that each picture was chosen in: a tie where they disagree."""
    told = [side for sides in (one, other) for side in sides or () if side is not None]
    if len(told) < 4:
        return None, None
    return (told[0] + told[2]) / 2, (told[1] + told[3]) / 2


def _orders(pairs: Sequence[Pair], choices: Sequence[Choices]) -> Found:
    answered = [
        (pair.group, one.as_given["choice"], one.swapped["choice"])
        for pair, one in zip(pairs, choices, strict=True)
        if one.as_given["status"] == one.swapped["status"] == "ok"
    ]
    groups = [group for group, *_ in answered]
    consistent = np.array([a != b for _, a, b in answered], float)
    first = np.array([((a == "first") + (b == "first")) / 2 for _, a, b in answered])
    return {
        "consistent": with_interval(lambda rows: float(consistent[rows].mean()), groups),
        "shown_first": with_interval(lambda rows: float(first[rows].mean()), groups),
    }


def _measure(pairs: Sequence[Pair], given: Given, contents: Sequence[str]) -> Found:
    """`slices`, an entry an axis: how people chose, and an entry a mode, with those of each part.

    `items` is for comparing two reports.
    """
    slices = []
    for axis in dict.fromkeys(pair.axis for pair in pairs):
        places = [i for i, p in enumerate(pairs) if p.axis == axis and p.human != "tie"]
        decided = [pairs[i] for i in places]
        first = [pair.human == "first" for pair in decided]
        slices.append(
            {
                "slice": axis,
                "n": len(decided),
                "human_ties": sum(pair.axis == axis for pair in pairs) - len(decided),
                "always_first": float(np.mean(first)) if first else None,
                "modes": [
                    {"mode": mode, **_mode(decided, [sides[i] for i in places])}
                    for mode, sides in given.items()
                ],
            }
        )
    items = [
        {
            "id": pair.id,
            "axis": pair.axis,
            "part": pair.part,
            "group": pair.group,
            "content": content,
            "human": pair.human,
            "given": {mode: sides[i] for mode, sides in given.items() if sides[i] is not None},
        }
        for i, (pair, content) in enumerate(zip(pairs, contents, strict=True))
    ]
    return {"slices": slices, "items": items}


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
    return float(cme(execution, consistency))


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


def _mode(pairs: Sequence[Pair], given: Sequence[Sides | None]) -> Found:
    told = [(pair, sides) for pair, sides in zip(pairs, given, strict=True) if sides is not None]
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


def _repeated(pairs: Sequence[Pair], answers: DirectAnswers) -> list[float] | None:
    """Share of the pairs that people decided for which both halves of the votes prefer the same, or
    neither.
    """
    halves: list[dict[tuple[str, str], float | None]] = [{}, {}]
    for key, answer in answers.items():
        votes = votes_of(answer)
        for half, some in zip(halves, (votes[: VOTES // 2], votes[VOTES // 2 :]), strict=True):
            half[key] = mean_of(some)
    same, groups = [], []
    for pair in pairs:
        if pair.human == "tie":
            continue
        told = [preference(sides) for half in halves if (sides := sides_of(pair, half))]
        if len(told) == len(halves) and None not in told:
            same.append(float(told[0] == told[1]))
            groups.append(pair.group)
    found = np.array(same)
    return with_interval(lambda rows: float(found[rows].mean()), groups)
