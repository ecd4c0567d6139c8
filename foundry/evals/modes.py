"""What each mode of scoring makes of a student's answers about a row, and which came to nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pipelines.answers import Row
from pipelines.identity import digest

VOTES = 8
AVERAGES = (1, 4, 8)
GREEDY, EXPECTED = "greedy", "expected"
MODES = (GREEDY, EXPECTED, *(f"avg@{k}" for k in AVERAGES))


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The two answers about a row on an axis, as their tables hold them.

    `sampled` is empty where no votes were asked for.
    """

    greedy: Row
    sampled: Row


DirectAnswers = dict[tuple[str, str], Scored]
# Score points by row id and axis, None for a failure, as each mode has them.
ByMode = dict[str, dict[tuple[str, str], float | None]]
# Columns of an answer that say what it is about.
_CONTENT = frozenset(
    {"prompt", "instruction", "image_sha256", "source_image_sha256", "edited_image_sha256"}
)


def scores_by_mode(answers: DirectAnswers) -> ByMode:
    """What each mode makes of the answers, in score points, by row id and axis.

    None for a reply that could not be used, or k votes none of which could. `expected` has no entry
    for a reply that came without label probabilities, and none at all where no reply has them;
    means of votes are not there where none were asked for.
    """
    voted = any(answer.sampled for answer in answers.values())
    found: ByMode = {mode: {} for mode in (MODES if voted else (GREEDY, EXPECTED))}
    has_probs = any(answer.greedy.get("score_expected") is not None for answer in answers.values())
    for key, answer in answers.items():
        greedy, votes = answer.greedy, votes_of(answer) if voted else []
        ok = greedy["status"] == "ok"
        found[GREEDY][key] = float(greedy["score"]) if ok else None
        if has_probs and not (ok and greedy["score_expected"] is None):
            found[EXPECTED][key] = greedy["score_expected"] if ok else None
        for k in AVERAGES if voted else ():
            found[f"avg@{k}"][key] = mean_of(votes[:k])
    return found


def votes_of(answer: Scored) -> list[int | None]:
    """The scores of all votes in the order of the reply, None for one that could not be used."""
    return [vote["score"] for vote in _votes(answer.sampled)]


def mean_of(votes: Sequence[int | None]) -> float | None:
    """The mean of the votes that could be used, None where none could.

    Nothing takes the place of the others. Replies to one request are drawn alike, so the mean of
    those that say something estimates the same, whichever of the k they are.
    """
    usable = [vote for vote in votes if vote is not None]
    return fmean(usable) if usable else None


def _votes(sampled: Row) -> list[Row]:
    """Each vote with a `score` or a `reason`; those of a request that was refused have its own."""
    refused = {"score": None, "reason": sampled["reason"]}
    return sampled.get("rollouts") or [refused] * VOTES


def content_of(answers: DirectAnswers, *asked: tuple[str, str]) -> str:
    """A short digest of the pictures and texts that rows were scored on."""
    seen = [
        [value for name, value in sorted(answers[key].greedy.items()) if name in _CONTENT]
        for key in asked
    ]
    return digest(seen)[:16]


def failures(answers: DirectAnswers) -> dict[str, Any]:
    """How many answers have no score, by the reason of the last reply, and were asked for again.

    An answer that several rows of the benchmark share is one. Each vote is an answer of its own,
    and none of them is asked for again.
    """
    greedy = {one.greedy["answer_id"]: one.greedy for one in answers.values()}
    sampled = {one.sampled["answer_id"]: one.sampled for one in answers.values() if one.sampled}
    votes = [
        {"reason": vote["reason"], "faults": [vote["reason"]] if vote["reason"] else []}
        for row in sampled.values()
        for vote in _votes(row)
    ]
    return failures_of({"greedy": list(greedy.values()), **({"votes": votes} if votes else {})})


def failures_of(replies: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """The same of any answers, by what they are called."""
    found: dict[str, Any] = {}
    for name, rows in replies.items():
        reasons = Counter(row["reason"] for row in rows if row["reason"])
        found[name] = {
            "answers": len(rows),
            "without_score": sum(reasons.values()),
            "reasons": dict(sorted(reasons.items())),
            "first_reply_unusable": sum(bool(row["faults"]) for row in rows),
        }
    return found
