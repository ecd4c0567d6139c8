"""What a benchmark found, as Markdown tables."""

from __future__ import annotations

from foundry.evals.markdown import table_cell, table_number, table_row, table_rule
from foundry.evals.plot import Mark
from foundry.evals.scores_report import Found


def markdown(found: Found) -> str:
    """The tables of a report. In brackets: 95% bootstrap intervals."""
    parts = [measures_table]
    parts += [_part_table, _order_text] if _is_of_pairs(found) else [_counts_table]
    parts += [_published_table, _failure_table]
    return "\n".join("\n".join(lines) + "\n" for part in parts if (lines := part(found)))


def measures_table(found: Found) -> list[str]:
    """The main table of a report: of each slice, how near each kind of score comes."""
    return (_pair_table if _is_of_pairs(found) else _score_table)(found)


def _is_of_pairs(found: Found) -> bool:
    return "tie_rate" in found["slices"][0]["modes"][0]


def _score_table(found: Found) -> list[str]:
    names = ("mae", "macro_mae", "spearman", "kappa", "worst_mae")
    columns = ("MAE", "macro-MAE", "Spearman", "kappa", "worst MAE")
    lines = [table_row("slice", "score", "items", "failures", *columns), table_rule(9)]
    for one in found["slices"]:
        for mode in one["modes"]:
            cells = [table_cell(mode[name]) for name in names]
            lines.append(table_row(one["slice"], mode["mode"], mode["n"], mode["failures"], *cells))
        for score, constant in one["constants"].items():
            best = [
                name for name in ("MAE", "macro-MAE")
                if one["best_constant"][name.lower().replace("-", "_")] == int(score)
            ]  # fmt: skip
            label = f"always {score}" + (f" (best {' and '.join(best)})" if best else "")
            cells = [f"{constant['mae']:.3f}", f"{constant['macro_mae']:.3f}", "", "", ""]
            lines.append(table_row(one["slice"], label, one["n"], "", *cells))
    told = (
        "A failure is a reply that could not be used. MAE, macro-MAE, Spearman and kappa are of "
        "the items that have a score; worst MAE is of all, a failure counted as the furthest from "
        "the truth that there is. Expected: the mean under the label probabilities of the greedy "
        "reply. Avg@k: the mean of those of the first k of 8 votes at temperature 0.7 that can be "
        "used; none is asked for again, and a row with none among its first k is a failure."
    )
    return [*lines, "", told]


def _counts_table(found: Found) -> list[str]:
    known = (found["published"] or {}).get("score_counts", {})
    lines = [table_row("slice", *(f"true {s}" for s in range(1, 6)), "published"), table_rule(7)]
    for one in found["slices"]:
        counts = one["score_counts"]
        same = known.get(one["slice"])
        verdict = "" if same is None else ("the same" if same == counts else f"others: {same}")
        lines.append(table_row(one["slice"], *counts, verdict))
    return lines


def _pair_table(found: Found) -> list[str]:
    columns = ("ties wrong", "ties half", "parts, ties wrong", "parts, ties half", "ties", "first")
    lines = [table_row("axis", "score", "pairs", "failures", *columns), table_rule(10)]
    names = ("strict", "half", "macro_strict", "macro_half", "tie_rate")
    for one in found["slices"]:
        for mode in one["modes"]:
            cells = [table_cell(mode.get(name)) for name in names]
            first = table_number(mode["first_rate"])
            lines.append(
                table_row(one["slice"], mode["mode"], mode["n"], mode["failures"], *cells, first)
            )
        always = one["always_first"]
        if always is not None:
            for label, share in (("first", always), ("second", 1 - always)):
                cells = (f"{share:.2f}", f"{share:.2f}", "", "", "0.00", "")
                lines.append(table_row(one["slice"], f"always {label}", one["n"], "", *cells))
    left_out = ", ".join(f"{one['slice']} {one['human_ties']}" for one in found["slices"])
    told = (
        "Accuracy over the pairs that people decided (undecided, and left out: "
        f"{left_out}); a failure is wrong in both. Parts: the mean over the parts, such as task "
        "types, of the accuracy in each. First: of the pairs that the judge decided, the share in "
        "which it preferred the first."
    )
    return [*lines, "", told]


def _part_table(found: Found) -> list[str]:
    lines: list[str] = []
    for one in found["slices"]:
        with_parts = [mode for mode in one["modes"] if "parts" in mode]
        if not with_parts:
            continue
        names = [mode["mode"] for mode in with_parts]
        lines += [
            "" if lines else f"Accuracy by part, ties wrong ({one['slice']}), and the ties:",
            *([f"The same of {one['slice']}:"] if lines else []),
            "",
            table_row("part", "pairs", *names, *(f"ties, {name}" for name in names)),
            table_rule(2 + 2 * len(names)),
        ]
        by_part = [{row["part"]: row for row in mode["parts"]} for mode in with_parts]
        for part in sorted({part for rows in by_part for part in rows}):
            n = max(rows[part]["n"] for rows in by_part if part in rows)
            cells = [
                table_number(rows[part][name] if part in rows else None)
                for name in ("strict", "ties")
                for rows in by_part
            ]
            lines.append(table_row(part, n, *cells))
    return lines


def _order_text(found: Found) -> list[str]:
    if "orders" in found["slices"][0]:
        orders = found["slices"][0]["orders"]
        return [
            "Both pictures are shown at once, in both orders; the two together prefer a picture "
            "only where they agree, else it is a tie. They agree in this share of pairs (swap "
            f"consistency): {table_cell(orders['consistent'])}. The picture shown first is chosen "
            f"in this share of answers: {table_cell(orders['shown_first'])}; a judge without a "
            "habit is at 0.50."
        ]
    repeated = ", ".join(f"{s['slice']} {table_cell(s['repeated'])}" for s in found["slices"])
    return [
        "Every picture is scored in a request of its own, so the order of the two cannot matter: "
        "both orders agree by construction, and that says nothing of the judge. What can differ is "
        "another draw: the first four and the last four of the votes prefer the same picture, or "
        f"neither, in this share of pairs: {repeated}."
    ]


def _published_table(found: Found) -> list[str]:
    table = found["published"]
    if table is None:
        return []
    lines = [
        f"Published ({table['source']}): {table['measure']}.",
        "",
        table_row("model", *table["columns"]),
        table_rule(1 + len(table["columns"])),
    ]
    for model, figures in table["models"].items():
        lines.append(table_row(model, *("-" if f is None else f"{f:g}" for f in figures)))
    return lines


def _failure_table(found: Found) -> list[str]:
    lines = [
        table_row("replies", "answers", "without a score", "first reply unusable", "reasons"),
        table_rule(5),
    ]
    for name, one in found["failures"].items():
        reasons = ", ".join(f"{reason} {n}" for reason, n in one["reasons"].items())
        cells = (one["answers"], one["without_score"], one["first_reply_unusable"], reasons)
        lines.append(table_row(name, *cells))
    return lines


def panels(found: Found) -> list[tuple[str, list[Mark]]]:
    """What the plot shows of each slice: MAE, a failure counted as the furthest, or accuracy with
    ties and failures wrong; and of others.
    """
    shown = []
    table = found["published"] or {"columns": [], "models": {}}
    for one in found["slices"]:
        marks: list[Mark] = [
            (mode["mode"], mode.get("macro_strict", mode.get("strict", mode.get("worst_mae"))))
            for mode in one["modes"]
        ]
        if "constants" in one:
            best = one["best_constant"]["mae"]
            marks.append((f"always {best}", [one["constants"][best]["mae"]]))
        if one["slice"] in table["columns"]:
            column = table["columns"].index(one["slice"])
            marks += [
                (f"{model} (published)", [figures[column]])
                for model, figures in table["models"].items()
                if figures[column] is not None
            ]
        shown.append((one["slice"], marks))
    return shown
