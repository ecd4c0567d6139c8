"""Two judges' answers about the same items: a paired bootstrap.

Every draw takes whole groups of items, the same for both, and the difference is measured on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from foundry.evals.metrics import Array, miss, spearman, with_interval
from foundry.evals.pairs_report import mean_of_parts, outcomes
from foundry.evals.scores_report import EDIT
from pipelines.rendering import AXES

# For which measures less is better.
LESS_IS_BETTER = ("worst_mae",)
# Fields of an item that both reports must agree on.
FIXED = ("part", "group", "content", "true", "human")
EXAMPLES = 3
Item = Mapping[str, Any]
# The measure of a and of b, of the difference with its interval, and of how many items.
Measures = dict[str, tuple[float, float, list[float] | None, int]]


class NotComparable(Exception):
    """Two reports that say nothing of each other; the message says why."""


def compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Differences b - a of every slice and mode that both have.

    Of scores: the MAE of all items, a failure counted as the furthest from the truth, and the rank
    correlation over items that both have a score of. Of pairs: accuracy with ties wrong, with ties
    half, and the former as the mean over the parts. A measure is [value, lower end, upper end].
    Raises NotComparable when the items are not the same.
    """
    pairs = _same_items(a, b)
    differences = []
    for name, some in _slices(pairs).items():
        modes = dict.fromkeys(mode for one, _ in some for mode in one["given"])
        for mode in modes:
            both = [pair for pair in some if all(mode in item["given"] for item in pair)]
            if not both:
                continue
            measures = _scores(both, mode) if "true" in both[0][0] else _preferences(both, mode)
            for measure, (value_a, value_b, difference, n) in measures.items():
                differences.append(
                    {
                        "slice": name,
                        "mode": mode,
                        "measure": measure,
                        "n": n,
                        "a": value_a,
                        "b": value_b,
                        "difference": difference,
                        "verdict": _verdict(measure, difference),
                    }
                )
    return {
        "bench": a["bench"],
        "a": a.get("model"),
        "b": b.get("model"),
        "items": len(pairs),
        "differences": differences,
    }


def _slices(pairs: Sequence[tuple[Item, Item]]) -> dict[str, list[tuple[Item, Item]]]:
    """By axis, and scores on both axes of edits together."""
    found: dict[str, list[tuple[Item, Item]]] = {}
    for pair in pairs:
        found.setdefault(pair[0]["axis"], []).append(pair)
    if found.keys() >= set(AXES) and "true" in pairs[0][0]:
        found[EDIT] = [pair for pair in pairs if pair[0]["axis"] in AXES]
    return found


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


def _scores(both: Sequence[tuple[Item, Item]], mode: str) -> Measures:
    misses_a, misses_b = (
        np.array([miss(pair[i]["true"], pair[i]["given"][mode]) for pair in both]) for i in (0, 1)
    )
    groups = [one["group"] for one, _ in both]
    found: Measures = {"worst_mae": _measured(misses_a, misses_b, groups, _mean)}
    scored = [pair for pair in both if all(item["given"][mode] is not None for item in pair)]
    true = np.array([one["true"] for one, _ in scored], float)
    given_a, given_b = (
        np.array([pair[i]["given"][mode] for pair in scored], float) for i in (0, 1)
    )

    def ranks(given: Array, rows: Array) -> float:
        return spearman(true[rows], given[rows])

    groups = [one["group"] for one, _ in scored]
    compared = _measured(given_a, given_b, groups, ranks)
    return found if compared[2] is None else found | {"spearman": compared}


def _preferences(both: Sequence[tuple[Item, Item]], mode: str) -> Measures:
    decided = [pair for pair in both if pair[0]["human"] != "tie"]
    if not decided:
        return {}
    humans = [one["human"] for one, _ in decided]
    groups = [one["group"] for one, _ in decided]
    names, parts = np.unique([one["part"] for one, _ in decided], return_inverse=True)
    a, b = (outcomes(humans, [pair[i]["given"][mode] for pair in decided]) for i in (0, 1))
    found = {name: _measured(a[name], b[name], groups, _mean) for name in ("strict", "half")}
    if len(names) > 1:

        def macro(right: Array, rows: Array) -> float:
            return mean_of_parts(right, parts, rows)

        found["macro_strict"] = _measured(a["strict"], b["strict"], groups, macro)
    return found


def _mean(values: Array, rows: Array) -> float:
    return float(values[rows].mean())


def _measured(
    a: Array, b: Array, groups: Sequence[Any], measure: Callable[[Array, Array], float]
) -> tuple[float, float, list[float] | None, int]:
    """A measure of both, of their difference on the same draws, and of how many items."""
    rows = np.arange(len(a))
    difference = with_interval(lambda rows: measure(b, rows) - measure(a, rows), groups)
    # One group alone would be drawn again and again, which tells nothing of chance.
    if len(set(groups)) < 2:
        difference = None
    return measure(a, rows), measure(b, rows), difference, len(a)


def _verdict(name: str, difference: Sequence[float] | None) -> str:
    if difference is None or difference[1] <= 0 <= difference[2]:
        return "not told apart"
    return "b is better" if (difference[0] < 0) == (name in LESS_IS_BETTER) else "a is better"
