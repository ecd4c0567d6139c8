"""Which items of two lists mean the same: differences, checklist items.

Words are compared as sets, lower case, without articles and prepositions of place, and by their F1.
Items are matched one to one so that as many as possible are (a maximum matching).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from foundry.evals.metrics import f1

_FILLERS = frozenset(("a", "an", "the", "of", "at", "in", "on", "is", "are", "there"))
_WORD = re.compile(r"\w+")
Item = Mapping[str, Any]
Same = Callable[[Item, Item], bool]


def word_f1(a: str, b: str) -> float:
    """F1 of two texts as sets of words, 0 to 1."""
    x, y = (set(_WORD.findall(text.lower())) - _FILLERS for text in (a, b))
    return f1(len(x & y), len(x), len(y))


def same_difference(a: Item, b: Item) -> bool:
    """Same category; subjects that share more than half; before and after almost word for word."""
    return (
        a["category"] == b["category"]
        and word_f1(a["subject"], b["subject"]) > 0.5
        and word_f1(a["before"], b["before"]) > 0.8
        and word_f1(a["after"], b["after"]) > 0.8
    )


def same_check(a: Item, b: Item) -> bool:
    """Same kind, and almost the same question."""
    return a["kind"] == b["kind"] and word_f1(a["question"], b["question"]) > 0.8


def match(given: Sequence[Item], true: Sequence[Item], same: Same) -> list[tuple[int, int]]:
    """Pairs of indices of items that mean the same, each item in one pair at most."""
    if not given or not true:
        return []
    fits = np.array([[same(a, b) for b in true] for a in given])
    rows, columns = linear_sum_assignment(fits, maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if fits[i, j]]
