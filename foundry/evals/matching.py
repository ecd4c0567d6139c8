"""Which items of two lists mean the same: differences, checklist items.

The rules stand in docs/shapeworld.md. Words are compared in lower case, without articles and other
fillers. Items are matched one to one so that as many as possible are (a maximum matching).
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


def words(text: str) -> list[str]:
    """The words of a text that are compared, in order."""
    return [word for word in _WORD.findall(text.lower()) if word not in _FILLERS]


def word_f1(a: str, b: str) -> float:
    """F1 of two texts as sets of words, 0 to 1."""
    x, y = set(words(a)), set(words(b))
    return f1(len(x & y), len(x), len(y))


def same_difference(a: Item, b: Item) -> bool:
    """Same category, same words before and after, and subjects one of which says what the other
    does and perhaps more: "red circle" is "red circle at the top left", which is not "red circle at
    the top right".
    """
    one, other = (set(words(item["subject"])) for item in (a, b))
    return (
        a["category"] == b["category"]
        and all(set(words(a[side])) == set(words(b[side])) for side in ("before", "after"))
        and bool(one and other)
        and (one <= other or other <= one)
    )


def same_check(a: Item, b: Item) -> bool:
    """Same kind and question: of a relation in the same order, else almost word for word."""
    if a["kind"] != b["kind"]:
        return False
    if a["kind"] == "relation":
        return words(a["question"]) == words(b["question"])
    return word_f1(a["question"], b["question"]) > 0.8


def match(given: Sequence[Item], true: Sequence[Item], same: Same) -> list[tuple[int, int]]:
    """Pairs of indices of items that mean the same, each item in one pair at most."""
    if not given or not true:
        return []
    fits = np.array([[same(a, b) for b in true] for a in given])
    rows, columns = linear_sum_assignment(fits, maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if fits[i, j]]
