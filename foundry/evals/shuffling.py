"""Whether a judge looks: the rows of a benchmark asked about with the pictures of other rows.

A judge that scores by the text alone, or by habit, does as well as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from foundry.evals.bench import Item, Rows
from foundry.evals.bench_files import BenchRefused
from foundry.evals.markdown import table_cell, table_row, table_rule
from foundry.evals.scores_report import Found
from pipelines.sources import PICTURE_COLUMNS


def with_others_pictures(rows: Rows, items: Sequence[Item]) -> Rows:
    """Each row with all pictures of the row half of the list further on; texts stay.

    Raises BenchRefused where that row shares a group with it, and so perhaps a picture.
    """
    group_of = {item.row: item.group for item in items}
    ids = list(rows.by_id)
    shift = len(ids) // 2
    shown: dict[str, dict[str, str]] = {}
    for mine, other in zip(ids, ids[shift:] + ids[:shift], strict=True):
        if group_of[mine] == group_of[other]:
            raise BenchRefused(f"{rows.places[mine]}: too few rows to show it another's pictures")
        pictures = {n: v for n, v in rows.by_id[other].items() if n in PICTURE_COLUMNS}
        shown[mine] = {**rows.by_id[mine], **pictures}
    return replace(rows, by_id=shown)


def shuffled_markdown(found: Found) -> str:
    """The greedy scores of each slice, as they are and with the pictures of other rows."""
    lines = [
        "With the pictures of other rows (greedy, MAE of all items, failures as the furthest):",
        "",
        table_row("slice", "MAE", "shuffled", "best constant", "Spearman", "shuffled"),
        table_rule(6),
    ]
    for own, other in zip(found["slices"], found["shuffled"]["slices"], strict=True):
        best = own["constants"][own["best_constant"]["mae"]]["mae"]
        mine, theirs = own["modes"][0], other["modes"][0]
        lines.append(
            table_row(
                own["slice"], table_cell(mine["worst_mae"]), table_cell(theirs["worst_mae"]),
                f"{best:.2f}", table_cell(mine["spearman"]), table_cell(theirs["spearman"]),
            )
        )  # fmt: skip
    return "\n".join(lines) + "\n"
