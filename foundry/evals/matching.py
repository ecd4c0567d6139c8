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
_SIDES = frozenset(("top", "bottom", "left", "right"))
_PLACES = _SIDES | {"middle", "corner", "side"}
_SYNONYMS = {"upper": "top", "lower": "bottom", "center": "middle", "centre": "middle"}
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
    does and perhaps more, places apart; the places must be one, or one of the items tells none.

    "red circle" is "top left red circle" and "red circle in the upper left corner", which are not
    "red circle at the top right". Where a thing comes or goes, its place may also stand with its
    look.
    """
    names, looks, places = zip(*(_said(item) for item in (a, b)), strict=True)
    return (
        a["category"] == b["category"]
        and looks[0] == looks[1]
        and all(names)
        and (names[0] <= names[1] or names[1] <= names[0])
        and (places[0] == places[1] or not all(places))
    )


def _said(item: Item) -> tuple[set[str], list[set[str]], set[str]]:
    """Words of the subject without its place, of both states, and the place."""
    subject, *states = (
        {_SYNONYMS.get(word, word) for word in words(item[name])}
        for name in ("subject", "before", "after")
    )
    place = subject & _PLACES
    if item["category"] == "presence":
        place = place.union(*states) & _PLACES
        states = [state - _PLACES for state in states]
    # "top middle" is "top", "middle left" is "left".
    return subject - _PLACES, states, place & _SIDES or place & {"middle"}


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
