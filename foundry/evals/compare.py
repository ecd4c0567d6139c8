"""Whether one judge is better than another: `python -m foundry.evals.compare A B`.

A paired bootstrap on the items that both were asked about: every draw takes whole groups of items,
the same for both, and the difference is measured on it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App

from foundry.evals.markdown import table_cell, table_row, table_rule
from foundry.evals.metrics import Array, furthest, spearman, with_interval
from foundry.evals.pairs_report import outcomes
from pipelines.shards import write_json

# For which measures less is better.
LESS_IS_BETTER = ("worst_mae",)
# Fields of an item that both reports must agree on.
FIXED = ("axis", "part", "group", "true", "human")
EXAMPLES = 3
Item = Mapping[str, Any]
app = App(name="python -m foundry.evals.compare", help_flags=["--help", "-h"], version_flags=[])


class NotComparable(Exception):
    """Two reports that say nothing of each other; the message says why."""


@app.default
def main(a: Path, b: Path, *, out: Path | None = None) -> int:
    """Compare two judges on the same items of one benchmark.

    Parameters
    ----------
    a
        A report's .json, or the folder that holds one: of the judge to compare with.
    b
        The same of the other judge. Differences are b - a.
    out
        Where to write the numbers, as JSON.

    """
    try:
        found = compare(read_report(a), read_report(b))
        if out is not None:
            write_json(out, found)
    except (NotComparable, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's own output
        return 2
    print(markdown(found, str(a), str(b)))  # noqa: T201 - a command's own output
    return 0


def read_report(path: Path) -> dict[str, Any]:
    """A report with its items. Raises NotComparable for what is none."""
    if path.is_dir():
        reports = [file for file in sorted(path.glob("*.json")) if _parsed(file) is not None]
        if len(reports) != 1:
            names = ", ".join(file.name for file in reports) or "none"
            raise NotComparable(f"{path}: give the .json of one report; there are: {names}")
        path = reports[0]
    report = _parsed(path)
    if report is None:
        raise NotComparable(f"{path}: not the .json of a report with items")
    return report


def _parsed(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and {"bench", "items"} <= value.keys() else None


def compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Differences b - a of every axis and mode that both have.

    Of scores: the MAE of all items, a failure counted as the furthest from the truth, and the rank
    correlation over items that both have a score of. Of pairs: accuracy with ties wrong, and with
    ties half. A measure is [value, lower end, upper end]. Raises NotComparable when the items are
    not the same.
    """
    pairs = _same_items(a, b)
    differences = []
    for axis in dict.fromkeys(one["axis"] for one, _ in pairs):
        of_axis = [(one, other) for one, other in pairs if one["axis"] == axis]
        modes = [
            m for m in of_axis[0][0]["given"] if any(m in other["given"] for _, other in of_axis)
        ]
        for mode in modes:
            both = [p for p in of_axis if all(mode in item["given"] for item in p)]
            measures = _scores(both, mode) if "true" in both[0][0] else _preferences(both, mode)
            for name, (value_a, value_b, difference, n) in measures.items():
                differences.append(
                    {
                        "axis": axis,
                        "mode": mode,
                        "measure": name,
                        "n": n,
                        "a": value_a,
                        "b": value_b,
                        "difference": difference,
                        "verdict": _verdict(name, difference),
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


Measures = dict[str, tuple[float, float, list[float] | None, int]]


def _scores(both: Sequence[tuple[Item, Item]], mode: str) -> Measures:
    misses = [np.array([_miss(pair[i], mode) for pair in both]) for i in (0, 1)]
    groups = [one["group"] for one, _ in both]
    found: Measures = {"worst_mae": _means(*misses, groups)}
    scored = [p for p in both if all(item["given"][mode] is not None for item in p)]
    true = np.array([one["true"] for one, _ in scored], float)
    given = [np.array([pair[i]["given"][mode] for pair in scored], float) for i in (0, 1)]
    if scored:
        a, b = (spearman(true, some) for some in given)
        difference = with_interval(
            lambda rows: (
                spearman(true[rows], given[1][rows]) - spearman(true[rows], given[0][rows])
            ),
            [one["group"] for one, _ in scored],
        )
        if difference is not None:
            found["spearman"] = (a, b, difference, len(scored))
    return found


def _miss(item: Item, mode: str) -> float:
    score = item["given"][mode]
    return furthest(item["true"]) if score is None else abs(item["true"] - score)


def _preferences(both: Sequence[tuple[Item, Item]], mode: str) -> Measures:
    decided = [pair for pair in both if pair[0]["human"] != "tie"]
    if not decided:
        return {}
    humans = [one["human"] for one, _ in decided]
    groups = [one["group"] for one, _ in decided]
    a, b = (outcomes(humans, [pair[i]["given"][mode] for pair in decided]) for i in (0, 1))
    return {name: _means(a[name], b[name], groups) for name in ("strict", "half")}


def _means(
    a: Array, b: Array, groups: Sequence[Any]
) -> tuple[float, float, list[float] | None, int]:
    difference = b - a
    found = with_interval(lambda rows: float(difference[rows].mean()), groups)
    return float(a.mean()), float(b.mean()), found, len(a)


def _verdict(name: str, difference: Sequence[float] | None) -> str:
    if difference is None or difference[1] <= 0 <= difference[2]:
        return "not told apart"
    return "b is better" if (difference[0] < 0) == (name in LESS_IS_BETTER) else "a is better"


def markdown(found: Mapping[str, Any], a: str, b: str) -> str:
    """The differences as a table. In brackets: 95% intervals of the paired bootstrap."""
    head = [
        f"# {found['bench']}: two judges on the same {found['items']} items",
        "",
        f"a: {found['a']} ({a})",
        "",
        f"b: {found['b']} ({b})",
        "",
        table_row("axis", "score", "measure", "items", "a", "b", "b - a", ""),
        table_rule(8),
    ]
    lines = [
        table_row(
            d["axis"], d["mode"], NAMES[d["measure"]], d["n"], f"{d['a']:.2f}", f"{d['b']:.2f}",
            table_cell(d["difference"]), d["verdict"],
        )
        for d in found["differences"]
    ]  # fmt: skip
    return "\n".join([*head, *lines])


NAMES = {
    "worst_mae": "MAE, failures as the furthest",
    "spearman": "Spearman",
    "strict": "accuracy, ties wrong",
    "half": "accuracy, ties half",
}

if __name__ == "__main__":
    sys.exit(app())
