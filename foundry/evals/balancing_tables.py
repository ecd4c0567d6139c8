"""What was measured of balance with rewritten instructions, as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foundry.evals.markdown import table_row, table_rule
from pipelines.rendering import AXES
from pipelines.replies import SCORES


def markdown(found: dict[str, Any]) -> str:
    """The tables of a report."""
    return "\n".join([*_balance(found), "", *_kinds(found)]) + "\n"


def _balance(found: dict[str, Any]) -> list[str]:
    without = found["without"]
    counts = found["counts"]
    lines = [
        "## Balance with rewritten instructions",
        "",
        "A build of edits of which 80% do just what they should, with rewritten rows, balanced to "
        "equal shares of the execution scores within two points.",
        "",
        table_row("rows with score", *SCORES, "all"),
        table_rule(len(SCORES) + 2),
        *(table_row(what, *some, sum(some)) for what, some in counts.items()),
        "",
        f"Kept: {found['kept_share']:.1%} of the rows that came to balance, the rewritten ones "
        f"among them; {sum(counts['kept, judged']) / found['source_rows']:.2f} for each source "
        f"row. Furthest from its share: {100 * found['largest_deviation']:.1f} points. Effective "
        f"size {found['effective_before']:.0f} before, {found['effective_after']:.0f} after. "
        f"Without rewritten rows the same balance keeps {without['kept_share']:.1%} "
        f"({without['kept']}).",
        "",
        "The shares are equal by the judge's scores alone. By the truth the kept rows are "
        f"{_histogram(counts['kept, true'])} of the scores 1 to 5: where a judge errs more on one "
        "score than on another, balance does not make the truth uniform.",
    ]
    return lines


def _histogram(counts: Sequence[int]) -> str:
    return " / ".join(map(str, counts))


def _kinds(found: dict[str, Any]) -> list[str]:
    lines = [
        table_row(
            "instruction", "rows", "can be read", "true 1 to 5", "judged 1 to 5",
            *(f"{axis} MAE" for axis in AXES),
        ),
        table_rule(5 + len(AXES)),
    ]  # fmt: skip
    for one in found["kinds"]:
        errors = ("" if one["mae"][axis] is None else f"{one['mae'][axis]:.3f}" for axis in AXES)
        histograms = (_histogram(one[name]) for name in ("true", "judged"))
        lines.append(
            table_row(one["kind"] or "as it came", one["rows"], one["read"], *histograms, *errors)
        )
    return [
        *lines,
        "",
        "An instruction that cannot be read back has no known truth and is in no MAE, nor is one "
        "whose words fit something that came up besides.",
    ]
