"""Markdown tables of measures with their intervals."""

from __future__ import annotations

# What a report says at its head.
INTERVALS = (
    "In brackets: 95% bootstrap intervals, of whole groups that share a picture or a prompt; none "
    "(-) where all are one group, which tells nothing of chance"
)


def table_row(*cells: object) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table_rule(columns: int) -> str:
    """The line under the head of a Markdown table."""
    return "|" + "---|" * columns


def table_cell(value: list[float] | None) -> str:
    """A measure with its interval, or with a dash for one that has none."""
    if value is None:
        return "-"
    if len(value) == 1:
        return f"{value[0]:.2f} (-)"
    low, high = (f"{end:.2f}" for end in value[1:])
    return f"{value[0]:.2f} ({low}{' to ' if low.startswith('-') else '-'}{high})"


def table_number(value: float | None, digits: int = 2) -> str:
    """A measure without one."""
    return "-" if value is None else f"{value:.{digits}f}"
