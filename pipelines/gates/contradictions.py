"""Scores that what the judge wrote beside them does not bear out.

The rules follow the ladders that the prompts state (prompts/gen_score.v1.md, edit_*.v1.md), and
leave a point of room: what is off by one may be a matter of taste.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pipelines.rendering import NO_DIFFERENCES

_ROOM = 1

# What is said of a whole edit or picture, and so decides it at the ends of the scale.
_BAD = {
    None: r"nothing to do with the prompt|unrelated to the prompt|"
    r"(?:ignores|does not (?:follow|match)|fails to (?:follow|match)) the prompt",
    "execution": r"(?:the )?(?:instruction|edit|request) (?:was|is|has been) (?:\w+ )?"
    r"(?:not (?:followed|carried out|done|made|applied|executed|performed)|ignored)|"
    r"no (?:requested|visible) (?:change|edit) (?:was|is|has been)|"
    r"(?:fails?|failed) to (?:follow|carry out|apply) the (?:instruction|edit|request)|"
    r"none of the requested changes",
    "consistency": r"(?:many|several|numerous) (?:\w+ )?(?:unintended|unasked|unwanted|"
    r"unrequested) (?:\w+ )?changes|(?:entirely|completely|almost entirely) "
    r"(?:another|a different) (?:picture|image|scene)",
}
_GOOD = {
    None: r"(?:fully|perfectly|exactly) (?:matches|follows) the prompt|"
    r"everything (?:that )?(?:the prompt|was) ask\w+ (?:for )?(?:is there|is present|is right)",
    "execution": r"(?:exactly|fully|perfectly|precisely) as (?:asked|requested|instructed)|"
    r"(?:fully|perfectly) (?:carried out|followed|executed)",
    "consistency": r"nothing else (?:was |has |is )?changed|"
    r"everything else (?:is|was|remains?|stays?) (?:\w+ )?(?:unchanged|preserved|the same)",
}
_NEGATED = re.compile(
    r"n['\u2019]t\b|\b(?:not|no|none|nothing|never|without|hardly|far from|nearly|almost|except|"
    r"but|only|if|would)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.!?;:]\s+")


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
    good, bad = _said(_GOOD[axis], reasoning), _said(_BAD[axis], reasoning)
    against, in_favour = (bad, good) if score == 5 else (good, bad)
    if against and not in_favour:
        return f"score {score}, where the reasoning says '{against}'"
    return None


def _said(pattern: str, reasoning: str) -> str | None:
    """The first of the phrases in a sentence that does not turn it round."""
    for sentence in _SENTENCE.split(reasoning):
        found = re.search(rf"\b(?:{pattern})\b", sentence, re.IGNORECASE)
        if found and not _NEGATED.search(sentence[: found.start()]):
            return found[0]
    return None
