"""Two judges' answers about the same items: a paired bootstrap.

Every draw takes whole groups of items, the same for both, and the difference is measured on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foundry.evals.metrics import Array, miss, spearman, with_interval
from foundry.evals.pairs_report import mean_of_parts, outcomes
from foundry.evals.scores_report import slices

# For which measures less is better.
LESS_IS_BETTER = ("worst_mae",)
# Fields of an item that both reports must agree on.
FIXED = ("part", "group", "content", "true", "human")
EXAMPLES = 3
Item = Mapping[str, Any]
Both = Sequence[tuple[Item, Item]]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A measure of `n` items by both judges, and the difference b - a with its interval.

    None where it is undefined, as `undefined` says.
    """

    n: int
    a: float | None
    b: float | None
    difference: list[float] | None
    undefined: str | None = None


class NotComparable(Exception):
    """Two reports that say nothing of each other; the message says why."""


def compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Differences b - a of every slice, its parts among them, and mode that both have.

    Of scores: the MAE of all items, a failure counted as the furthest from the truth, and the rank
    correlation over items that both have a score of. Of pairs: accuracy with ties wrong, with ties
    half, and the former as the mean over the parts; of a part the former alone. A difference is
    [value, lower end, upper end], [value] where it has no interval, None where it is undefined.
    Raises NotComparable when the items are not the same.
    """
    pairs = _same_items(a, b)
    scores = any("true" in one for one, _ in pairs)
    axes = {one["axis"] for one, _ in pairs}
    differences = []
    sliced = slices(pairs, lambda pair: (pair[0]["axis"], pair[0]["part"]), scores=scores)
    for name, some in sliced.items():
        modes = dict.fromkeys(mode for one, _ in some for mode in one["given"])
        for mode in modes:
            both = [pair for pair in some if all(mode in item["given"] for item in pair)]
            if not both:
                continue
            measures = _scores(both, mode) if scores else _preferences(both, mode, name not in axes)
            for measure, found in measures.items():
                differences.append(
                    {
                        "slice": name,
                        "mode": mode,
                        "measure": measure,
                        "n": found.n,
                        "a": found.a,
                        "b": found.b,
                        "difference": found.difference,
                        "verdict": found.undefined or _verdict(measure, found.difference),
                    }
                )
    return {
        "bench": a["bench"],
        "a": a.get("model"),
        "b": b.get("model"),
        "items": len(pairs),
        "differences": differences,
    }


def _same_items(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[Item, Item]]:
    if a["bench"] != b["bench"]:
        raise NotComparable(f"not the same benchmark: {a['bench']} and {b['bench']}")
    known = [{(item["id"], item["axis"]): item for item in report["items"]} for report in (a, b)]
    for name, these, others in (("first", *known), ("second", *reversed(known))):
        only = [f"{item_id} ({axis})" for item_id, axis in these if (item_id, axis) not in others]
        if only:
            some = ", ".join(only[:EXAMPLES]) + (", ..." if len(only) > EXAMPLES else "")
            raise NotComparable(
                f"not the same items: {len(only)} of {len(these)} are in the {name} report alone: "
                f"{some}. Run both on the same file."
            )
    for key, item in known[0].items():
        for field in FIXED:
            ours, theirs = item.get(field), known[1][key].get(field)
            if ours != theirs:
                raise NotComparable(
                    f"not the same items: {key[0]} ({key[1]}) has {field} {ours!r} in the first "
                    f"report and {theirs!r} in the second. Run both on the same file."
                )
    return [(item, known[1][key]) for key, item in known[0].items()]


def _scores(both: Both, mode: str) -> dict[str, Compared]:
    misses_a, misses_b = (
        np.array([miss(pair[i]["true"], pair[i]["given"][mode]) for pair in both]) for i in (0, 1)
    )
    worst = _compared(misses_a, misses_b, both, _mean)
    scored = [pair for pair in both if all(item["given"][mode] is not None for item in pair)]
    true = np.array([one["true"] for one, _ in scored], float)
    given_a, given_b = (
        np.array([pair[i]["given"][mode] for pair in scored], float) for i in (0, 1)
    )

    def ranks(given: Array, rows: Array) -> float:
        return spearman(true[rows], given[rows])

    why = _unranked(true, given_a, given_b)
    ranked = _compared(given_a, given_b, scored, ranks, undefined=why)
    return {"worst_mae": worst, "spearman": ranked}


def _unranked(true: Array, a: Array, b: Array) -> str | None:
    """Why two judges cannot be compared by the ranks that they give, None where they can."""
    if not len(true):
        return "undefined: no item has a score of both"
    if len(np.unique(true)) < 2:
        return "undefined: one true score alone"
    constant = [name for name, given in (("a", a), ("b", b)) if len(np.unique(given)) < 2]
    return f"undefined: {' and '.join(constant)} always the same" if constant else None


def _preferences(both: Both, mode: str, is_part: bool) -> dict[str, Compared]:
    decided = [pair for pair in both if pair[0]["human"] != "tie"]
    if not decided:
        return {}
    humans = [one["human"] for one, _ in decided]
    names, parts = np.unique([one["part"] for one, _ in decided], return_inverse=True)
    a, b = (outcomes(humans, [pair[i]["given"][mode] for pair in decided]) for i in (0, 1))
    kinds = ("strict",) if is_part else ("strict", "half")
    found = {name: _compared(a[name], b[name], decided, _mean) for name in kinds}
    if len(names) > 1:

        def macro(right: Array, rows: Array) -> float:
            return mean_of_parts(right, parts, rows)

        found["macro_strict"] = _compared(a["strict"], b["strict"], decided, macro)
    return found


def _mean(values: Array, rows: Array) -> float:
    return float(values[rows].mean())


def _compared(
    a: Array,
    b: Array,
    items: Both,
    measure: Callable[[Array, Array], float],
    *,
    undefined: str | None = None,
) -> Compared:
    """A measure of both, and of their difference on the same draws."""
    rows = np.arange(len(items))
    groups = [one["group"] for one, _ in items]
    of_a, of_b = (None if np.isnan(value := measure(some, rows)) else value for some in (a, b))
    difference = with_interval(lambda rows: measure(b, rows) - measure(a, rows), groups)
    return Compared(n=len(items), a=of_a, b=of_b, difference=difference, undefined=undefined)


def _verdict(name: str, difference: Sequence[float] | None) -> str:
    if difference is None or len(difference) == 1:
        return "not told apart: no interval"
    value, low, high = difference
    if low <= 0 <= high:
        return "not told apart"
    return "b is better" if (value < 0) == (name in LESS_IS_BETTER) else "a is better"
