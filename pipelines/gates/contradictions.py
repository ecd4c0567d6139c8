"""Scores that what the judge wrote beside them does not bear out.

The rules follow the ladders that the prompts state (prompts/gen_score.v1.md, edit_*.v1.md), and
leave a point of room: what is off by one may be a matter of taste.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pipelines.gates.polarity_phrases import BAD, GOOD
from pipelines.rendering import NO_DIFFERENCES

_ROOM = 1

# What, earlier in its clause, turns a phrase round; in its sentence, makes it a wish.
_NEGATED = re.compile(
    r"n't\b|\b(?:not|no|none|never|nothing|without|hardly|far from|cannot|neither|nor)\b"
)
_WISHED = re.compile(
    r"\b(?:if|would|should|could|might|must|ought|supposed|meant to|rather than|only|"
    r"(?:instruction|prompt|request|user) (?:asks|wants|says|demands|requires))\b"
)
# What, later in its sentence, takes it back; or anywhere, with another word for each side.
_TAKEN_BACK = re.compile(
    r"\b(?:except|but|apart from|aside from|save for|other than|though|although|yet|unless|until|"
    r"only|while|whereas)\b"
)
_AS_ASKED = re.compile(r"\bas (?:it )?(?:was )?(?:asked|requested|instructed|wanted|intended)\b")
_MIXED = {
    "good": re.compile(r"\b(?:however|unfortunately|instead|wrong|fail(?:s|ed)?|yet)\b"),
    "bad": re.compile(r"\b(?:however|nevertheless|nonetheless|fortunately|otherwise)\b"),
}
_SENTENCE = re.compile(r"[.!?;:]+(?:\s+|$)")
_CLAUSE = re.compile(r"[,()\u2013\u2014]| (?:and|while|but|so|yet) ")
_PHRASES = {
    (side, axis): re.compile(rf"\b(?:{'|'.join(patterns)})(?!\w)")
    for side, by_axis in (("good", GOOD), ("bad", BAD))
    for axis, patterns in by_axis.items()
}


def implied_scores(
    checklist: Sequence[dict[str, Any]], verdicts: Sequence[dict[str, Any]]
) -> tuple[int, int]:
    """The lowest and highest gen score that the verdicts allow, by the ladder of the prompt.

    They differ where a verdict is `unclear`: it counts once as a no and once as a yes; and where
    every subject is missing, but not everything else.
    """
    found = [verdict["verdict"] for verdict in verdicts]
    readings = ([other if v == "unclear" else v for v in found] for other in ("no", "yes"))
    (low, _), (_, high) = (_by_ladder(checklist, reading) for reading in readings)
    return low, high


def _by_ladder(checklist: Sequence[dict[str, Any]], found: Sequence[str]) -> tuple[int, int]:
    off = sum(v != "yes" for v in found)
    if not off:
        return 5, 5
    pairs = list(zip(checklist, found, strict=True))
    # The main subjects; a checklist without any is told by what is critical.
    subjects = [v for item, v in pairs if item["kind"] == "subject"]
    subjects = subjects or [v for item, v in pairs if item["critical"]] or list(found)
    missing = sum(v == "no" for v in subjects)
    if missing == len(subjects):
        # Without its subjects a picture may still be in the style or place that was asked for.
        rest = any(item["kind"] != "negative" and v != "no" for item, v in pairs)
        return 1, 2 if rest else 1
    if 2 * missing > len(subjects) or subjects[0] == "no":
        return 2, 2
    unmet = any(item["critical"] and v == "no" for item, v in pairs)
    score = 4 if off <= 2 and not unmet else 3
    return score, score


def find_contradiction(row: dict[str, Any]) -> str | None:
    """What in a dataset row contradicts its score, None for nothing.

    Looks at verdicts (gen), at a report that found nothing (edits), and at rationales that say the
    opposite of a 1 or a 5.
    """
    score = row["score"]
    axis = row.get("axis")
    if axis is None:
        low, high = implied_scores(row["checklist"], row["verdicts"])
        if not low - _ROOM <= score <= high + _ROOM:
            implied = str(low) if low == high else f"{low} to {high}"
            return f"score {score}, where the verdicts come to {implied}"
    elif row["report"] == NO_DIFFERENCES:
        if axis == "execution" and score >= 4:
            return f"execution {score}, where the report found no change"
        if axis == "consistency" and score <= 2:
            return f"consistency {score}, where the report found no change"
    return _against_rationale(row["reasoning"], score, axis)


def _against_rationale(reasoning: str, score: int, axis: str | None) -> str | None:
    """A rationale that only praises a 1, or only blames a 5."""
    if score not in (1, 5):
        return None
    against, in_favour = ("bad", "good") if score == 5 else ("good", "bad")
    text = reasoning.lower().replace("\u2019", "'")
    found = _said(text, against, axis)
    if found and not _said(text, in_favour, axis):
        return f"score {score}, where the reasoning says '{found}'"
    return None


def _said(text: str, side: str, axis: str | None) -> str | None:
    """The first phrase that its sentence neither turns round, nor wishes, nor takes back."""
    if _MIXED[side].search(text):
        return None
    for sentence in _SENTENCE.split(text):
        # What was to change, a place or a style, may be nearly the whole picture.
        if (side, axis) == ("bad", "consistency") and _AS_ASKED.search(sentence):
            continue
        for found in _PHRASES[side, axis].finditer(sentence):
            before = sentence[: found.start()]
            if not (
                _NEGATED.search(_CLAUSE.split(before)[-1])
                or _WISHED.search(before)
                or _TAKEN_BACK.search(sentence, found.end())
            ):
                return found[0]
    return None
