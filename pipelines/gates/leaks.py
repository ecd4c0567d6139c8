"""Rationales that cite what a student will not see: the difference report, the checklist."""

from __future__ import annotations

import re
from itertools import chain

from pipelines.gates.leak_phrases import ITEM_ID, PHRASES
from pipelines.gates.words import word_runs, words_of

# So many words in a row of the hidden text, and not of the visible, are a copy of it.
COPIED_WORDS = 8

_LEAK = re.compile(rf"(?<!\w)(?:{'|'.join(PHRASES)})(?!\w)")
_ITEM_ID = re.compile(ITEM_ID)
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
    r"\s*:?\s*(?:\"[^\"]*\"|'[^']*'|\u201c[^\u201d]*\u201d|\u2018[^\u2019]*\u2019)",
    re.IGNORECASE,
)
_OF = re.compile(
    r"\s+(?:of|in|between|from|by|on|to)\s+(?:the|both|this|these|two|\s)*(\w+)", re.IGNORECASE
)
# Counted things are of a picture when it is said of what or where they are, written ones when it
# is said where, but for the places of the hidden text.
_COUNTED = re.compile(r"\b(?:items?|points?|checks?|bullets?|entry|entries)$", re.IGNORECASE)
_PLACED = re.compile(
    r"\b(?:items?|points?|checks?|bullets?|entry|entries|questions?|answers?|reports?|notes|"
    r"(?:check-?\s?)?lists?|listed|recorded|documented|flagged)$",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\s+(?:(?:that|which) )?(?:(?:is|was|are|were|lying|pinned|taped|held|written|hanging) )?"
    r"(?:on|in|under|below|above|beside|near|at|behind|inside|across|along|over|next to|"
    r"in front of|between)\s+(?:the|a|an|his|her|its|their|each|every|both|this|that|these|two)"
    r"\s+((?:\w+\s+)?\w+)",
    re.IGNORECASE,
)
_HIDDEN_PLACE = re.compile(
    r"\b(?:(?:check)?lists?|reports?|sets?|questions?|analysis|comparison|notes|summary|criteria|"
    r"differences?|changes?|descriptions?|edits?|findings|verdicts?|log|evidence|breakdown|"
    r"provided|supplied|given|above)\b",
    re.IGNORECASE,
)
# Things of paper, which the hidden text names only where a picture shows them.
_PAPERS = frozenset(
    ("checklist", "list", "report", "note", "questionnaire", "summary", "log", "rubric", "planner")
)
_NO_CONTENT = frozenset(
    ("the", "a", "an", "this", "that", "these", "those", "of", "in", "on", "by", "to", "per", "as",
     "all", "some", "both", "each", "every", "any", "none", "most")
)  # fmt: skip
# A line of the difference report: where "red -> blue" stands after a colon, and there too.
_LINE = re.compile(r":[ \t]*([^:;.\n]{1,80}?)\s*(?:->|=>|\u2192)\s*(\w+)")


def find_leak(reasoning: str, *, hidden: str, visible: str) -> str | None:
    """What in a rationale cites the hidden text or copies it, in its own words; None for nothing.

    `hidden` is the report or checklist as the judge read it, `visible` the instruction or prompt:
    a phrase whose words are all in that is no leak, and neither is a citation of the pictures.
    """
    seen = {_singular(word) for word in words_of(visible)}
    # The one letter that lower case makes two of would move what stands behind it.
    lower = reasoning.replace("\u0130", "I").lower()
    for found in chain(_LEAK.finditer(lower), _ITEM_ID.finditer(reasoning)):
        words = {_singular(word) for word in words_of(found[0])}
        papers = words & _PAPERS
        of_a_paper = papers and papers <= {_singular(word) for word in words_of(hidden)}
        if not (words - _NO_CONTENT <= seen or of_a_paper or _is_of_what_is_seen(lower, found)):
            return reasoning[found.start() : found.end()]
    return _line_of(reasoning, hidden) or _copied(reasoning, hidden, visible)


def _singular(word: str) -> str:
    return word.removesuffix("s")


def _is_of_what_is_seen(text: str, found: re.Match[str]) -> bool:
    """Whether the words of a citation, or those that say of what it is, name something visible."""
    quotes = _QUOTED.finditer(text)
    if any(quote.start() < found.start() and found.end() <= quote.end() for quote in quotes):
        return True
    if _PLACED.search(found[0]):
        place = _PLACE.match(text, found.end())
        if place and not _HIDDEN_PLACE.search(place[1]):
            return True
    of = _OF.match(text, found.end())
    if of and _COUNTED.search(found[0]) and not _HIDDEN_PLACE.search(of[1]):
        return True
    return bool(_OF_WHAT_IS_SEEN.search(found[0]) or (of and _OF_WHAT_IS_SEEN.fullmatch(of[1])))


def _line_of(reasoning: str, hidden: str) -> str | None:
    """The states of a difference, before and after, in the form of a report that has them."""
    for line in _LINE.finditer(reasoning):
        before_and_after = f"{line[1]} -> {line[2]}"
        if before_and_after.lower() in hidden.lower():
            return before_and_after
    return None


def _copied(reasoning: str, hidden: str, visible: str) -> str | None:
    runs = word_runs(reasoning, COPIED_WORDS)
    if not runs:
        return None
    known = set(word_runs(hidden, COPIED_WORDS)).difference(word_runs(visible, COPIED_WORDS))
    return next((run for run in runs if run in known), None)
