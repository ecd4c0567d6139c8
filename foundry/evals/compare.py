"""Whether one judge is better than another: `python -m foundry.evals.compare A B`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cyclopts import App

from foundry.evals.comparing import NotComparable, compare
from foundry.evals.markdown import INTERVALS, table_cell, table_number, table_row, table_rule
from pipelines.shards import write_json

NAMES = {
    "worst_mae": "MAE, failures as the furthest",
    "spearman": "Spearman",
    "strict": "accuracy, ties wrong",
    "half": "accuracy, ties half",
    "macro_strict": "mean over parts, ties wrong",
}
app = App(name="python -m foundry.evals.compare", help_flags=["--help", "-h"], version_flags=[])


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


def markdown(found: Mapping[str, Any], a: str, b: str) -> str:
    """The differences as a table."""
    head = [
        f"# {found['bench']}: two judges on the same {found['items']} items",
        "",
        f"a: {found['a']} ({a})",
        "",
        f"b: {found['b']} ({b})",
        "",
        f"{INTERVALS}. Both are measured on the same draws.",
        "",
        table_row("slice", "score", "measure", "items", "a", "b", "b - a", ""),
        table_rule(8),
    ]
    lines = [
        table_row(
            d["slice"], d["mode"], NAMES[d["measure"]], d["n"], table_number(d["a"]),
            table_number(d["b"]), table_cell(d["difference"]), d["verdict"],
        )
        for d in found["differences"]
    ]  # fmt: skip
    return "\n".join([*head, *lines])


if __name__ == "__main__":
    sys.exit(app())
