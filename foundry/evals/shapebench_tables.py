"""What ShapeBench found, as Markdown tables."""

from __future__ import annotations

from foundry.evals.markdown import table_cell, table_number, table_row, table_rule
from foundry.evals.plot import Mark
from foundry.evals.shapebench_report import Found


def markdown(found: Found) -> str:
    """The tables of a report. In brackets: 95% intervals."""
    parts = (_score_table, _ratio_table, _list_table, _verdict_table, _look_table, _cost_table)
    return "\n".join("\n".join(part(found)) + "\n" for part in parts)


def panels(found: Found) -> list[tuple[str, list[Mark]]]:
    """What the plot shows: the MAE of every way of asking and of the best constant, by axis.

    Where replies were rejected, one of all rows, which has no interval.
    """
    shown = []
    for constant in found["constants"]:
        axis, (best, value) = constant["axis"], constant["mae"]
        marks: list[Mark] = [
            (f"{s['mode']}, {s['votes']}", [s["worst_mae"]] if s["rejected"] else s["mae"])
            for s in found["scores"]
            if s["axis"] == axis
        ]
        shown.append((axis, [*marks, (f"always {best}", [value])]))
    return shown


def _score_table(found: Found) -> list[str]:
    columns = ("MAE", "macro-MAE", "expected MAE", "Spearman", "kappa", "rejected", "worst MAE")
    names = ("mae", "macro_mae", "expected_mae", "spearman", "kappa")
    lines = [table_row("axis", "mode", "votes", "rows scored", *columns), table_rule(11)]
    for s in found["scores"]:
        cells = [table_cell(s.get(name)) for name in names]
        cells += [f"{s['rejected']:.1%}", table_number(s["worst_mae"])]
        of = f"{s['scored']} of {s['rows']}"
        lines.append(table_row(s["axis"], s["mode"], s["votes"], of, *cells))
    for c in found["constants"]:
        (by_mae, best), (by_macro, best_macro) = c["mae"], c["macro_mae"]
        mode = f"always {by_mae} (macro: {by_macro})"
        cells = (f"{best:.2f}", f"{best_macro:.2f}", "", "", "", "", "")
        lines.append(table_row(c["axis"], mode, "", "", *cells))
    told = (
        "A rejected reply has no score: a line measures the rows that have one, and in its last "
        "column all rows, a missing score counted as the furthest from the truth that there is. "
        "The expected MAE is over rows whose server gave probabilities."
    )
    return [*lines, "", told]


def _ratio_table(found: Found) -> list[str]:
    lines = [table_row("axis", "votes", "rows scored by both", "MAE of the method / MAE of direct")]
    lines.append(table_rule(4))
    for r in found["ratios"]:
        lines.append(table_row(r["axis"], r["votes"], r["rows"], table_cell(r["mae_ratio"])))
    return lines


def _list_table(found: Found) -> list[str]:
    lines = [table_row("items", "lists", "precision", "recall", "F1", "rejected"), table_rule(6)]
    for one in found["lists"]:
        cells = (table_cell(one[name]) for name in ("precision", "recall", "f1"))
        lines.append(table_row(one["kind"], one["lists"], *cells, f"{one['rejected']:.1%}"))
    told = (
        "A rejected list counts as empty. Items are matched by their words, so these figures are "
        "for judges that were taught ShapeWorld's."
    )
    return [*lines, "", told]


def _verdict_table(found: Found) -> list[str]:
    v = found["verdicts"]
    cells = (table_cell(v[name]) for name in ("accuracy", "macro_f1"))
    return [
        table_row("verdicts", "of items matched", "accuracy", "macro-F1"),
        table_rule(4),
        table_row(v["verdicts"], f"{v['matched']:.1%}", *cells),
    ]


def _look_table(found: Found) -> list[str]:
    lines = [
        "Rows whose combinations of shape and colour were all trained on, and rows with others:",
        "",
        table_row("axis", "mode", "combinations", "rows scored", "MAE", "macro-MAE"),
        table_rule(6),
    ]
    for s in found["looks"]:
        cells = (table_cell(s[name]) for name in ("mae", "macro_mae"))
        which = "some new" if s["unseen"] else "known"
        of = f"{s['scored']} of {s['rows']}"
        lines.append(table_row(s["axis"], s["mode"], which, of, *cells))
    return lines


def _cost_table(found: Found) -> list[str]:
    lines = [
        "Means over what was asked for, refused replies and all votes counted. A report is asked "
        "for once a pair and a checklist once a prompt, beside the scores that rest on them:",
        "",
        table_row(
            "asked for", "mode", "votes", "asked", "prompt tokens", "reply tokens", "asked again"
        ),
        table_rule(7),
    ]
    asked = [(s["axis"], s["mode"], s["votes"], s["cost"]) for s in found["scores"]]
    asked += [(one["kind"], "", "", one["cost"]) for one in found["lists"]]
    for *what, cost in asked:
        tokens = (table_number(cost[name], 0) for name in ("prompt_tokens", "reply_tokens"))
        lines.append(table_row(*what, cost["asked"], *tokens, f"{cost['asked_again'] or 0:.1%}"))
    return lines
