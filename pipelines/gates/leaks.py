"""Rationales that cite what a student will not see: the difference report, the checklist."""

from __future__ import annotations

import re

from pipelines.gates.leak_phrases import PHRASES
from pipelines.gates.words import word_runs, words_of

# So many words in a row of the hidden text, and not of the visible, are a copy of it.
COPIED_WORDS = 8

_LEAK = re.compile(rf"(?<!\w)(?:{'|'.join(PHRASES)})(?!\w)", re.IGNORECASE)
# Said of these, a citation is of what the student sees too.
_OF_WHAT_IS_SEEN = re.compile(
    r"\b(?:instructions?|prompt|request|caption|images?|pictures?|photos?|scenes?|signs?|user|"
    r"clipboards?|walls?|boards?|whiteboards?|blackboards?|desks?|screens?|papers?|pages?|posters?|"
    r"fridge|doors?|shirts?|jerseys?|notebooks?)\b",
    re.IGNORECASE,
)
# What is quoted from a picture is what it shows.
_QUOTED = re.compile(
    r"\b(?:reads?|reading|says?|saying|shows?|showing|text|words?|letters|for|title[d]?|headed)"
    r"\s*:?\s*[\"'\u201c\u2018]$",
    re.IGNORECASE,
)
_OF = re.compile(
    r"\s+(?:of|in|between|from|by|on|to)\s+(?:the|both|this|these|two|\s)*(\w+)", re.IGNORECASE
)
# Counted things are of a picture when it is said where they are, but for these places.
_COUNTED = re.compile(r"\b(?:items?|points?|checks?|bullets?|entry|entries)$", re.IGNORECASE)
_HIDDEN_PLACE = re.compile(
    r"(?:check)?lists?|reports?|sets?|questions?|analysis|comparison|notes|summary|criteria",
    re.IGNORECASE,
)
_NO_CONTENT = frozenset(
    ("the", "a", "an", "this", "that", "these", "those", "of", "in", "on", "by", "to", "per", "as")
)


def find_leak(reasoning: str, *, hidden: str, visible: str) -> str | None:
    """What in a rationale cites the hidden text or copies it, in its own words; None for nothing.

    `hidden` is the report or checklist as the judge read it, `visible` the instruction or prompt:
    a phrase whose words are all in that is no leak, and neither is a citation of the pictures.
    """
    seen = {_singular(word) for word in words_of(visible)}
    for found in _LEAK.finditer(reasoning):
        content = {_singular(word) for word in words_of(found[0])} - _NO_CONTENT
        if not content <= seen and not _is_of_what_is_seen(reasoning, found):
            return found[0]
    return _copied(reasoning, hidden, visible)


def _singular(word: str) -> str:
    return word.removesuffix("s")


def _is_of_what_is_seen(reasoning: str, found: re.Match[str]) -> bool:
    """Whether the words of a citation, or those that say of what it is, name something visible."""
    if _QUOTED.search(reasoning[: found.start()]):
        return True
    of = _OF.match(reasoning, found.end())
    if of and _COUNTED.search(found[0]) and not _HIDDEN_PLACE.fullmatch(of[1]):
        return True
    return bool(_OF_WHAT_IS_SEEN.search(found[0]) or (of and _OF_WHAT_IS_SEEN.fullmatch(of[1])))


def _copied(reasoning: str, hidden: str, visible: str) -> str | None:
    runs = word_runs(reasoning, COPIED_WORDS)
    if not runs:
        return None
    known = set(word_runs(hidden, COPIED_WORDS)).difference(word_runs(visible, COPIED_WORDS))
    return next((run for run in runs if run in known), None)
