"""Rationales that cite what a student will not see: the difference report, the checklist.

The phrase set is kept here. It names the hidden text by what judges call it, and by how a text
cites another; a phrase whose last word the row's own instruction or prompt has is no leak.
"""

from __future__ import annotations

import re

# So many words in a row of the hidden text, and not of the visible, are a copy of it.
COPIED_WORDS = 8

_HIDDEN = (
    r"(?:differences?|difference (?:report|list)|changes?|reports?|lists?|listing|checklists?|"
    r"descriptions?|analysis|summary|notes?|findings|verdicts?|evidence|items?|questions?|"
    r"criteri(?:on|a)|requirements list|observations|comparison|context|information|details)"
)
_GIVEN = (
    r"(?:provided|given|supplied|listed|reported|stated|described|noted|mentioned|identified|"
    r"documented|enumerated|itemi[sz]ed|outlined|detected|recorded)"
)
_CITES = (
    r"(?:says?|states?|notes?|mentions?|shows?|lists?|indicates?|confirms?|reports?|describes?|"
    r"records?|contains?|includes?|identifies|flags?|reveals?|makes no mention)"
)
# What is never said of a picture.
_ALWAYS = (
    r"check-?\s?lists?",
    r"difference (?:report|list|summary|description)s?",
    r"(?:list|report|summary|description) of (?:the )?(?:\w+ )?(?:differences|changes)",
    r"(?:reported|listed|itemi[sz]ed|enumerated|documented) (?:\w+ )?"
    r"(?:differences?|changes?|edits?)",
    r"(?:checklist|list|report)(?:ed)? items?",
    r"verdicts?",
    r"sub-?questions?",
    r"(?:all|every|each|most|some|several|none|one|two|three|four|five|\d+)(?: of)?(?: the)? "
    r"(?:\w+ )?(?:questions?|criteria|criterion|check(?:s|points?))",
    r"(?:items?|questions?|criteri(?:on|a)|checks?|points?|entr(?:y|ies)) (?:#|no\.? ?|number )?"
    r"(?:\d+|one|two|three|four)\b",
    r"c(?:[1-9]|1[0-2])",
    r"at a glance:|on a closer look:",
    # What those who evaluate call their papers.
    r"questionnaire|rubric(?:'s)?|ground[- ]truth|(?:evaluation|assessment|scoring|check|reference|"
    r"verification|validation) (?:points?|sheet|results?|form|table|questions?|notes?|data|list)",
    r"(?:the|per|a|this|that|my|supplied|given|above|\w+'s) (?:\w+ )?(?:diff|annotations?|"
    r"assessments?|evaluations?|breakdowns?|bullets?|metadata|inventory|tally|findings?|"
    r"observations?|comparisons?|listings?|inputs?|materials? (?:i|that|given|provided)|"
    r"data (?:i|that|given|provided|says?|shows?)|change ?log)",
    r"(?:the|this|that) (?:\w+ )?list(?! of (?:ingredients|names))",
    r"(?:only|first|second|third|fourth|last|next|each|every|another|this|that|one|other) "
    r"(?:entry|bullet|line item)",
    r"(?:non-?)?(?:critical|essential|must-have|required|optional|minor|major) "
    r"(?:items?|questions?|criteri(?:on|a)|entr(?:y|ies))",
    r"criteri(?:on|a)(?! for)",
    r"(?:pre-?(?:filled|computed|recorded)) \w+|hard constraints",
    r"(?:the|my|these|those|given|listed) answers (?:to|have|are|indicate|show|say|confirm)",
    r"(?:i was|we were|i am|i've been) (?:told|given|handed|shown|supplied|provided|informed)",
    r"(?:given|handed|supplied|provided|shown|passed|available) to (?:me|us)\b",
    r"(?:evaluator|annotator|reviewer|checker|analyst)(?:'s|s'|s)?",
    r"(?:the|this|that) (?:only |single |one )?[\"'“](?:no|yes|partly|unclear)[\"'”]",
    r"list of (?:\w+ )?(?:edits|modifications|alterations|requirements|items|points|checks)",
    r"\w+ ?(?:->|→|=>) ?\w+",
    r"obvious (?:differences|changes|list)|detailed (?:list|section)",
)
# Of these words alone a picture may be spoken of: what cites them makes the leak.
_CITED = (
    rf"(?:the|this|that|these|those|its) {_HIDDEN} (?:{_GIVEN}|above|below)\b",
    rf"(?:the|a|this|these|any) {_GIVEN} (?:\w+ )?{_HIDDEN}",
    rf"{_GIVEN} (?:in|by|on|under|among) (?:the|that|this) (?:\w+ )?{_HIDDEN}",
    rf"(?:according to|based on|per|as per|judging (?:by|from)|going by|consistent with|"
    rf"in line with|from) (?:the|this) (?:\w+ )?{_HIDDEN}\b",
    rf"(?:the|this) {_HIDDEN} (?:\w+ )?{_CITES}\b",
    r"as (?:listed|reported|noted|described|stated|mentioned|identified) (?:above|earlier|before)",
    r"(?:above|preceding|aforementioned|foregoing) (?:list|report|description|differences|changes)",
)
# Said of these, a citation is of what the student sees too.
_SEEN = re.compile(
    r"\b(?:instruction|instructions|prompt|request|caption|image|images|picture|pictures|photo|"
    r"scene|text|sign|user)\b"
)
_PHRASES = tuple(re.compile(rf"(?<!\w)(?:{p})(?!\w)", re.IGNORECASE) for p in _ALWAYS)
_CITATIONS = tuple(re.compile(rf"(?<!\w)(?:{p})(?!\w)", re.IGNORECASE) for p in _CITED)
_WORD = re.compile(r"\w+")


def find_leak(reasoning: str, *, hidden: str, visible: str) -> str | None:
    """What in a rationale cites the hidden text or copies it, in its own words; None for nothing.

    `hidden` is the report or checklist as the judge read it, `visible` the instruction or prompt.
    """
    allowed = {_singular(word) for word in _WORD.findall(visible)}
    for phrase in _PHRASES:
        for found in phrase.finditer(reasoning):
            if _singular(_WORD.findall(found[0])[-1]) not in allowed:
                return found[0]
    for citation in _CITATIONS:
        for found in citation.finditer(reasoning):
            if not _of_what_is_seen(reasoning, found) and not allowed.issuperset(
                _singular(word) for word in _WORD.findall(found[0])
            ):
                return found[0]
    return _copied(reasoning, hidden, visible)


def _singular(word: str) -> str:
    return word.lower().removesuffix("s")


def _of_what_is_seen(reasoning: str, found: re.Match[str]) -> bool:
    """Whether the words of a citation, or those right after it, are about something visible."""
    after = reasoning[found.end() : found.end() + 40].split(".")[0]
    of = re.match(r"\s+(?:of|in|between|from|by|on|to) (?:the |both |this |two )*(\w+)", after)
    return bool(_SEEN.search(found[0].lower()) or (of and _SEEN.search(after[: of.end()].lower())))


def _copied(reasoning: str, hidden: str, visible: str) -> str | None:
    known = _grams(hidden) - _grams(visible)
    words = _WORD.findall(reasoning)
    for i in range(len(words) - COPIED_WORDS + 1):
        gram = tuple(word.lower() for word in words[i : i + COPIED_WORDS])
        if gram in known:
            return " ".join(words[i : i + COPIED_WORDS])
    return None


def _grams(text: str) -> set[tuple[str, ...]]:
    words = [word.lower() for word in _WORD.findall(text)]
    return {tuple(words[i : i + COPIED_WORDS]) for i in range(len(words) - COPIED_WORDS + 1)}
