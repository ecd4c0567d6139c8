"""The targets of the loop on ShapeWorld: what is asked, and whether it was met on every seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foundry.evals.compare import NAMES
from foundry.evals.loop_measures import AXES_TOLD
from foundry.evals.markdown import table_number
from foundry.evals.scores_report import Found

MOST_OF_CONSTANT = 0.6
LEAST_SPEARMAN = 0.6
MOST_MINUTES = 60


def targets(found: Found) -> list[Found]:
    """Each target, whether it is `met` on every seed, and what was found."""
    seeds = found["seeds"]
    told = [
        _reached(
            f"after SFT, MAE at most {MOST_OF_CONSTANT} of the best constant's on every axis",
            seeds,
            lambda seed: each_axis(seed["models"]["sft"], lambda one: f"{one['ratio']:.2f}"),
            lambda seed: all(one["ratio"] <= MOST_OF_CONSTANT for one in _sft(seed)),
        ),
        _reached(
            f"after SFT, Spearman at least {LEAST_SPEARMAN} on every axis",
            seeds,
            lambda seed: each_axis(seed["models"]["sft"], _rank),
            lambda seed: all(rank_value(one["spearman"]) >= LEAST_SPEARMAN for one in _sft(seed)),
        ),
        _reached(
            "DPO improves MAE or rank correlation on some axis outside the paired interval, and "
            f"makes neither worse on any (of {2 * len(AXES_TOLD)} intervals a seed: changes that "
            "are noise alone would meet it on about one seed in eight)",
            seeds,
            lambda seed: _verdicts(seed["compared"]["sft to dpo"]),
            lambda seed: _improved(seed["compared"]["sft to dpo"]),
        ),
        _reached(
            "pictures matter: on every axis the SFT model is better than the best constant, with "
            "the pictures of other rows it is not, and the intervals of its MAE lie apart "
            "(MAE / constant, own -> others)",
            seeds,
            _own_and_others,
            _pictures_matter,
        ),
    ]
    if not found["full"] and len(seeds) == 1:
        minutes = minutes_of(seeds[0])
        told.append(
            {
                "target": f"one seed in under {MOST_MINUTES} minutes",
                "met": minutes < MOST_MINUTES and not _cut(seeds[0]),
                "found": f"{minutes:.0f} minutes" + " and what was cut short" * _cut(seeds[0]),
            }
        )
    return told


def _reached(target: str, seeds: Sequence[Found], tell: Any, met: Any) -> Found:
    return {
        "target": target,
        "met": all(met(seed) for seed in seeds),
        "found": "; ".join(tell(seed) for seed in seeds),
    }


def _sft(seed: Found) -> list[Found]:
    return list(seed["models"]["sft"].values())


def _own_and_others(seed: Found) -> str:
    both = {
        axis: (seed["models"]["sft"][axis]["ratio"], seed["shuffled"][axis]["ratio"])
        for axis in AXES_TOLD
    }
    return ", ".join(f"{axis} {own:.2f} -> {others:.2f}" for axis, (own, others) in both.items())


def _pictures_matter(seed: Found) -> bool:
    """Noise, or the same score for every row, is no better with its own pictures."""
    both = [(seed["models"]["sft"][axis], seed["shuffled"][axis]) for axis in AXES_TOLD]
    return all(
        own["ratio"] < 1 <= others["ratio"] and _lies_below(own["mae"], others["mae"])
        for own, others in both
    )


def _lies_below(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether the interval of a ends before that of b begins; without both it is not known."""
    return len(a) == len(b) == 3 and a[2] < b[1]


def rank_value(measure: Sequence[float] | None) -> float:
    """A rank correlation; of scores that do not vary it is none, and says as little as 0."""
    return 0.0 if measure is None else measure[0]


def _rank(one: Found) -> str:
    return table_number(None if one["spearman"] is None else one["spearman"][0])


def each_axis(axes: Mapping[str, Found], tell: Any) -> str:
    """What `tell` says of each axis, in one line."""
    return ", ".join(f"{axis} {tell(axes[axis])}" for axis in AXES_TOLD)


def _improved(differences: Sequence[Found]) -> bool:
    verdicts = {d["verdict"] for d in differences}
    return "b is better" in verdicts and "a is better" not in verdicts


def _verdicts(differences: Sequence[Found]) -> str:
    told = {"a is better": "worse", "b is better": "better"}
    found = [
        f"{d['slice']} {NAMES[d['measure']].partition(',')[0]} {told[d['verdict']]}"
        for d in differences
        if d["verdict"] in told
    ]
    return ", ".join(found) or f"none of {len(differences)} measures told apart"


def minutes_of(seed: Found) -> float:
    """Minutes of all steps of a seed that ended."""
    return sum(step["took_s"] for step in seed["steps"].values()) / 60


def _cut(seed: Found) -> bool:
    return any(step["cut"] for step in seed["steps"].values())
