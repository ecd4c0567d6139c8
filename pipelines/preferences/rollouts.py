"""The rollouts of a row: all replies of one request, each usable or with its reason.

A rollout that cannot be used is not asked for again: a re-ask shows the model its fault, and what
it then says is no answer to the prompt that it will be trained and served with.
"""

from __future__ import annotations

from typing import Any

from pipelines.answers import Row, ask_once, for_attempt, provenance_of, rejected_row
from pipelines.chat import Chat
from pipelines.export.formats import Format, reserved_word
from pipelines.journal import Journal
from pipelines.preferences.rules import Rollout
from pipelines.questions import Question
from pipelines.replies import Choice, Reply, ReplyInvalid, parse_choice
from pipelines.stages import Stage


async def get_rollouts(
    question: Question,
    *,
    answer_id: str,
    stage: Stage,
    chat: Chat,
    journal: Journal,
    earlier: Row | None = None,
    unfit_for: Format | None = None,
) -> Row:
    """The row of all replies, `stage.votes` of them; rejected where none can be used.

    One whose reasoning the reader of the format `unfit_for` would take for something else cannot be
    used. It is asked anew whatever `earlier` says. Raises EndpointDown and OSError (journal).
    """
    usage = {"prompt_tokens": 0, "completion_tokens": 0}
    kept = journal.replies(answer_id)
    if kept:
        entry = kept[0]
    else:
        asked = for_attempt(question, stage, 1, stage.votes, [])
        entry = {"attempt": 1, **await ask_once(asked, chat)}
        if "reply" in entry:
            journal.append(answer_id, entry)
    if "refused" in entry:
        reason, detail = entry["refused"]
        faults = [f"{reason}: {detail}"]
        return rejected_row(answer_id, stage, faults, entry, usage, reason, detail, None)
    reply = Reply.from_json(entry["reply"])
    usage = {name: getattr(reply, name) or 0 for name in usage}
    choices = reply.choices[: stage.votes]
    found = [_read(choice, stage, unfit_for) for choice in choices]
    missing = f"the server gave {len(choices)} of {stage.votes} replies"
    found += [_unusable("reply:too_few", missing)] * (stage.votes - len(choices))
    if all(one["reason"] for one in found):
        reason, fault = found[0]["reason"], found[0]["fault"]
        detail = f"none of {len(found)} rollouts usable; the first: {fault}"
        faults = [f"{reason}: {fault}"]
        row = rejected_row(answer_id, stage, faults, entry, usage, reason, detail, choices[0])
        return row | {"rollouts": found}
    # No attempt came before this one, whatever some of its rollouts are.
    return provenance_of(answer_id, stage, [], entry, usage) | {
        "status": "ok",
        "reason": None,
        "detail": None,
        "raw_reply": None,
        "attempts": 1,
        "rollouts": found,
        "finish_reason": choices[0].finish_reason,
    }


def usable_rollouts(answer: Row) -> list[Rollout]:
    """The rollouts of an answer that is ok which say something, in order of the replies."""
    return [
        Rollout(index=i, score=one["score"], reasoning=one["reasoning"])
        for i, one in enumerate(answer["rollouts"])
        if one["reason"] is None
    ]


def _read(choice: Choice, stage: Stage, unfit_for: Format | None) -> dict[str, Any]:
    try:
        value = parse_choice(choice, stage.schema_id)
    except ReplyInvalid as invalid:
        return _unusable(invalid.reason, invalid.fault)
    if unfit_for and (word := reserved_word(unfit_for, [value["reasoning"]])):
        return _unusable("reply:reserved", f"its reasoning contains {word}")
    said = {name: value[name] for name in ("reasoning", "score")}
    return {**said, "reason": None, "fault": None}


def _unusable(reason: str, fault: str) -> dict[str, Any]:
    return {"reasoning": None, "score": None, "reason": reason, "fault": fault}
