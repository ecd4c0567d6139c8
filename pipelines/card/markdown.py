"""Markdown from values that others chose: no name of a source or model can break a table."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

LONGEST = 160
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#|~!$&@^])")
_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ./:=+,_-]*[A-Za-z0-9])?")


def text(value: str | None, *, absent: str = "not stated") -> str:
    """A value as one line of text that means itself: markup escaped, control characters gone."""
    if value is None:
        return absent
    line = " ".join(value.split())
    # "C" are control, format (text direction) and unassigned characters.
    line = "".join(c for c in line if not unicodedata.category(c).startswith("C"))
    if len(line) > LONGEST:
        line = line[: LONGEST - 3] + "..."
    escaped = _SPECIAL.sub(r"\\\1", line)
    # The Hub makes links of bare addresses.
    return escaped.replace("://", ":\\//") or '""'


def code(value: str | None, *, absent: str = "not stated") -> str:
    """A value in code type where it is made of plain characters, as names and digests are."""
    if value is not None and len(value) <= LONGEST and _PLAIN.fullmatch(value):
        return f"`{value}`"
    return text(value, absent=absent)


def count(n: int) -> str:
    """A number of things: 1,234,567."""
    return f"{n:,}"


def share(n: int, of: int) -> str:
    """A part of a whole in per cent, or a dash of nothing."""
    return f"{100 * n / of:.1f}%" if of else "-"


def number(value: float | None, digits: int = 2) -> str:
    """A measured number, or a dash where nothing was measured."""
    return "-" if value is None else f"{value:.{digits}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> str:
    """A table; its cells are Markdown already. The last `numbers` columns are set to the right."""
    left = len(head) - numbers
    rule = ["---"] * left + ["---:"] * numbers
    lines = [head, rule, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
