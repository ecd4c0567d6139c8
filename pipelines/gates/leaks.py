"""Rationales that cite what a student will not see: the difference report, the checklist.

The phrase set is kept here. It looks for what nobody says of a picture (a checklist, item 3) and
for words that cite a text (the provided list, the report says). Words that judges use of pictures
(change, detail, item) are a leak only where such a citation is made of them.
"""

from __future__ import annotations

import re

from pipelines.gates.words import word_runs, words_of

# So many words in a row of the hidden text, and not of the visible, are a copy of it.
COPIED_WORDS = 8

# Texts by nature, and what may be a text when it is cited.
_TEXT = (
    r"(?:reports?|lists?|listings?|notes|findings|verdicts?|assessments?|analysis|summary|"
    r"breakdown)"
)
_CITED = (
    rf"(?:{_TEXT}|differences?|changes|descriptions?|questions|criteria|observations|"
    r"comparisons?|information|data|annotations?|answers)"
)
_GIVEN = (
    r"(?:provided|supplied|given|listed|reported|enumerated|itemi[sz]ed|documented|aforementioned|"
    r"pre-?(?:filled|computed|recorded))"
)
_SAYS = (
    r"(?:says?|states?|notes?|mentions?|lists?|indicates?|confirms?|flags?|records?|"
    r"makes? no mention)"
)
_PHRASES = (
    # Nobody says these of a picture.
    r"check-?\s?lists?",
    r"(?:difference|change) (?:report|list|summary)s?",
    r"(?:list|report|summary) of (?:the |all )?(?:\w+ )?"
    r"(?:differences|changes|edits|modifications)",
    r"(?:the|this|that) diff",
    r"(?:the|all|most|some|these|those|no|both|each|every|one|two|three|four|five) "
    r"(?:of the )?verdicts?",
    r"(?:item|question|criterion|entry|check) (?:#|no\.? ?|number )?\d+",
    r"(?:first|second|third|fourth|fifth|last|next) (?:item|entry|question|criterion|bullet)"
    r"(?: (?:on|of|in) the list)?",
    r"c(?:[1-9]|1[0-2])",
    r"(?:critical|non-critical) (?:items?|questions?|requirements?|criteri(?:on|a)|checks?)",
    r"at a glance:|on a closer look:",
    r"questionnaire|ground[- ]truth|rubric",
    r"(?:evaluation|assessment|verification|scoring) "
    r"(?:points?|sheet|results?|form|questions?|list)",
    r"\w+ ?(?:->|→|=>) ?\w+",
    # Whoever writes was given something.
    r"(?:i was|we were|i am|i've been|i have been) (?:told|given|handed|supplied|provided)",
    r"(?:given|handed|supplied|provided|available) to (?:me|us)",
    # Texts that are cited.
    rf"(?:the|a|this|these|those|my|per|any) {_GIVEN} (?:\w+ )?{_CITED}",
    rf"(?:the|this|these|those) {_CITED} (?:provided|supplied|given|listed|above)",
    rf"(?:listed|reported|noted|flagged|mentioned|recorded|described|stated) (?:in|by|on|under) "
    rf"(?:the|this|that) (?:\w+ )?{_CITED}",
    rf"(?:according to|based on|as per|per|going by|consistent with|in line with) (?:the|this) "
    rf"(?:\w+ )?{_CITED}",
    rf"(?:the|this|that) {_TEXT} {_SAYS}",
    r"(?:the|these|those) (?:differences|changes|answers|annotations|observations) (?:say|state|"
    r"note|mention|list|indicate|confirm|flag)",
    r"as (?:listed|reported|noted|described|stated|mentioned) (?:above|earlier|before)",
    r"(?:above|preceding|foregoing) (?:list|report|description|differences|changes)",
)
_LEAK = re.compile(rf"(?<!\w)(?:{'|'.join(_PHRASES)})(?!\w)", re.IGNORECASE)
# Said of these, a citation is of what the student sees too.
_OF_WHAT_IS_SEEN = re.compile(
    r"\b(?:instructions?|prompt|request|caption|images?|pictures?|photos?|scenes?|signs?|user)\b",
    re.IGNORECASE,
)
_OF = re.compile(
    r"\s+(?:of|in|between|from|by|on|to)\s+(?:the|both|this|these|two|\s)*(\w+)", re.IGNORECASE
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
    of = _OF.match(reasoning, found.end())
    return bool(_OF_WHAT_IS_SEEN.search(found[0]) or (of and _OF_WHAT_IS_SEEN.fullmatch(of[1])))


def _copied(reasoning: str, hidden: str, visible: str) -> str | None:
    runs = word_runs(reasoning, COPIED_WORDS)
    if not runs:
        return None
    known = set(word_runs(hidden, COPIED_WORDS)).difference(word_runs(visible, COPIED_WORDS))
    return next((run for run in runs if run in known), None)
