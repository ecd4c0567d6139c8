"""One answer: asked, read, asked again after a bad reply, and in the end a row, ok or rejected.

Every finished reply goes to the journal before it is read, so an answer interrupted anywhere goes
on with the next attempt. A re-ask is triggered by structure or by a rationale that cites what its
readers cannot see, never by a score's value.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from pipelines.build import Row
from pipelines.chat import Chat, RequestStuck
from pipelines.gates.leaks import find_leak
from pipelines.gates.words import normalise_text
from pipelines.journal import Journal
from pipelines.questions import Question, RequestRefused
from pipelines.replies import Choice, Reply, ReplyInvalid, before_score, parse_choice
from pipelines.stages import RETRY_PROMPT, Stage
from pipelines.version import code_version
from pipelines.votes import settle_votes
from prompts import load_prompt

LONGEST_RAW_REPLY = 20_000


class NotAsked(Exception):
    """An answer that is not there and that nobody may be asked for (reading a build)."""


async def get_answer(
    question: Question,
    *,
    answer_id: str,
    stage: Stage,
    chat: Chat,
    journal: Journal | None,
    earlier: Row | None = None,
) -> Row:
    """The row for one answer, without the columns that say what it is about.

    Without a journal nothing is kept of an answer that is interrupted. `earlier` is the rejected
    row of a run that allowed fewer attempts; its attempts count.
    Raises EndpointDown and OSError (journal), never anything about a reply.
    """
    if earlier and not earlier["reason"].startswith("reply:"):
        earlier = None
    faults: list[str] = list(earlier["faults"]) if earlier else []
    first = len(faults) + 1
    votes: list[tuple[dict[str, Any], Choice]] = []
    usage = {
        name: (earlier or {}).get(name) or 0 for name in ("prompt_tokens", "completion_tokens")
    }
    replies = journal.replies(answer_id) if journal else []
    kept = {entry["attempt"]: entry for entry in replies}
    fault: ReplyInvalid | None = None
    bad: Choice | None = None
    entry: dict[str, Any] = {}
    for attempt in range(first, stage.attempts + 1):
        missing = stage.votes - len(votes)
        asked = for_attempt(question, stage, attempt, missing, faults)
        if attempt in kept:
            entry = kept[attempt]
        else:
            entry = {"attempt": attempt, **await ask_once(asked, chat)}
            if journal and "reply" in entry:
                journal.append(answer_id, entry)
        if "refused" in entry:
            reason, detail = entry["refused"]
            faults.append(f"{reason}: {detail}")
            return rejected_row(answer_id, stage, faults, entry, usage, reason, detail, None)
        reply = Reply.from_json(entry["reply"])
        for name in usage:
            usage[name] += getattr(reply, name) or 0
        fault = bad = None
        for choice in reply.choices:
            try:
                value = _read(choice, stage, question, last=attempt == stage.attempts)
                votes.append((value, choice))
            except ReplyInvalid as invalid:
                if fault is None:
                    fault, bad = invalid, choice
        if len(votes) >= stage.votes:
            row = _accepted(answer_id, stage, faults, entry, usage, attempt, votes[: stage.votes])
            if _is_sampled(answer_id, stage.label_mass_share):
                row["label_mass"] = await _label_mass(asked, votes[-1][1].content or "", chat)
            return row
        fault = fault or ReplyInvalid("reply:too_few", f"{len(reply.choices)} of {missing} replies")
        faults.append(str(fault))
    reason = fault.reason if fault else faults[-1].split(": ")[0]
    detail = f"{faults[-1]} (attempt {len(faults)} of {stage.attempts}" + (
        f", {len(votes)} of {stage.votes} votes usable)" if stage.votes > 1 else ")"
    )
    return rejected_row(answer_id, stage, faults, entry, usage, reason, detail, bad)


def _read(choice: Choice, stage: Stage, question: Question, *, last: bool) -> dict[str, Any]:
    """The value of a reply.

    Raises ReplyInvalid, also when its rationale cites what is hidden, unless it is the last one:
    then it is an answer, and whether it may stand in a dataset is for a gate to say.
    """
    value = parse_choice(choice, stage.schema_id, question.exact_verdicts)
    if question.original is not None and _is_same(value["instruction"], question.original):
        raise ReplyInvalid("reply:repeated", "its instruction is the original one")
    if question.hidden is not None and not last:
        leak = find_leak(value["reasoning"], hidden=question.hidden, visible=question.visible)
        if leak:
            raise ReplyInvalid(
                "reply:leak",
                f"its reasoning mentions '{leak[:120]}', which its readers cannot see",
            )
    return value


def _is_same(text: str, other: str) -> bool:
    return normalise_text(text) == normalise_text(other)


def for_attempt(
    question: Question, stage: Stage, attempt: int, missing: int, faults: list[str]
) -> Question:
    """The question as it is asked at an attempt, for as many replies as are missing."""
    seed = stage.sampling["seed"]
    changes: dict[str, Any] = {"n": missing}
    if seed is not None:
        changes["seed"] = seed + attempt - 1
    if attempt > 1:
        shown = load_prompt(RETRY_PROMPT).render({"fault": faults[-1]})
        changes["text"] = question.text + "\n\n" + shown
        changes["temperature"] = stage.sampling["retry_temperature"]
    if attempt == 1 and seed is None and missing == question.n:
        return question
    return replace(question, **changes)


async def ask_once(question: Question, chat: Chat) -> dict[str, Any]:
    """One request as a journal entry: a reply, or how the server refused. Raises EndpointDown."""
    started = time.time()
    try:
        reply, url = await chat.ask(question)
    except RequestRefused as refused:
        return {"refused": [refused.reason, refused.detail], "at": time.time(), "url": None}
    return {
        "reply": reply.to_json(),
        "at": time.time(),
        "took_s": time.time() - started,
        "url": url,
    }


def _is_sampled(answer_id: str, share: float) -> bool:
    return int(answer_id[:8], 16) / 16**8 < share


async def _label_mass(question: Question, content: str, chat: Chat) -> float | None:
    """Probability that a model which may say anything goes on with a score where it gave one.

    None where the server does not say. It is no part of the answer, so no journal keeps it: a run
    that is killed meanwhile asks again. Raises EndpointDown.
    """
    begun = before_score(content)
    if begun is None:
        return None
    more = replace(question, begun=begun, n=1, max_tokens=1, temperature=0.0, logprobs=True)
    try:
        reply, _ = await chat.ask(more)
    except (RequestRefused, RequestStuck):
        return None
    return reply.choices[0].label_mass


def provenance_of(
    answer_id: str, stage: Stage, faults: list[str], entry: dict[str, Any], usage: dict[str, int]
) -> Row:
    """The columns of an answer that say how it came about."""
    reply = entry.get("reply") or {}
    return {
        "answer_id": answer_id,
        "stage_digest": stage.digest,
        **stage.provenance,
        **code_version(),
        "model": reply.get("model") or stage.model,
        "faults": faults,
        "endpoint": entry.get("url"),
        "answered_at": entry.get("at"),
        "took_s": entry.get("took_s"),
        **usage,
    }


def _accepted(
    answer_id: str,
    stage: Stage,
    faults: list[str],
    entry: dict[str, Any],
    usage: dict[str, int],
    attempt: int,
    votes: list[tuple[dict[str, Any], Choice]],
) -> Row:
    row = provenance_of(answer_id, stage, faults, entry, usage)
    row |= {"status": "ok", "reason": None, "detail": None, "raw_reply": None, "attempts": attempt}
    value, choice = votes[0]
    if "score" in value:
        vote = settle_votes(
            [int(value["score"]) for value, _ in votes], [choice.score_probs for _, choice in votes]
        )
        value, choice = votes[vote.index]
        row |= {
            "score_probs": vote.probs,
            "score_expected": vote.expected,
            "vote_scores": vote.scores,
            "vote_spread": vote.spread,
        }
        value = {**value, "score": vote.score}
    return row | value | {"finish_reason": choice.finish_reason}


def rejected_row(
    answer_id: str,
    stage: Stage,
    faults: list[str],
    entry: dict[str, Any],
    usage: dict[str, int],
    reason: str,
    detail: str,
    bad: Choice | None,
) -> Row:
    """The row of an answer that cannot be used; `bad` is the reply that shows why."""
    # The last for an empty text: a reply that came and said nothing is not one that never came.
    raw = (bad.content or bad.refusal or bad.content) if bad else None
    return provenance_of(answer_id, stage, faults, entry, usage) | {
        "status": "rejected",
        "reason": reason,
        "detail": detail,
        "raw_reply": raw and raw[:LONGEST_RAW_REPLY].encode("utf-8", "replace").decode(),
        "attempts": len(faults),
        "finish_reason": bad.finish_reason if bad else None,
    }


def reusable(row: Row, stage: Stage) -> bool:
    """Whether a kept row stands: ok, or with bad replies as often as the stage allows.

    A request that the server refused, or a picture that was gone, is tried anew by the next run:
    a server started with more context, or a disk that is back, mends it.
    """
    if row["status"] == "ok":
        return True
    return row["reason"].startswith("reply:") and row["attempts"] >= stage.attempts
