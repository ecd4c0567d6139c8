"""One conversation to learn from, in the factory's own prompts and reply schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from foundry.shapeworld.edits import Edit
from foundry.shapeworld.glimpses import Glimpses, glimpses
from foundry.shapeworld.rows import Made, WorldRow
from pipelines.rendering import student_prompt
from prompts import load_prompt

# A reply that was refused is asked for again with its fault: now and then it is here too.
_RETRIED = 0.02
_FAULTS = (
    "reply:not_json: not valid JSON: Expecting value: line 1 column 1 (char 0)",
    "reply:cut_short: the reply was cut off before it was complete",
    "reply:schema: edit_score.v1 at /reasoning: '' should be non-empty",
)


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One conversation.

    `kind` is the prompt's name, with the axis where one prompt serves both. `pictures` are RGB, in
    the order in which they are shown; `seen` has for each of them, cell by cell, the words for what
    is there (glimpses.py). `text` is the rendered prompt, `reply` the wanted answer, `system` the
    system text that goes with pictures, None without.
    """

    kind: str
    pictures: tuple[Any, ...]
    seen: tuple[Glimpses, ...]
    text: str
    reply: str
    system: str | None


def plain_lesson(
    kind: str, row: WorldRow, reply: str, *columns: str, values: Mapping[str, str] | None = None
) -> Lesson:
    """A lesson that the factory never asks, about the pictures of these columns, or about all.

    `values` are its prompt's inputs.
    """
    columns = columns or tuple(row.pictures)
    return Lesson(
        kind=kind,
        pictures=tuple(row.pictures[column] for column in columns),
        seen=glimpses([row.scenes[column] for column in columns]),
        text=load_prompt(f"{kind}.v1").render(values or {}),
        reply=reply,
        system=load_prompt("system.v1").text,
    )


def make_lesson(
    kind: str,
    row: WorldRow,
    dice: Random,
    values: dict[str, str],
    reply: dict[str, Any],
    *,
    blind: bool = False,
) -> Lesson:
    """A lesson with a prompt of the factory; `blind` without the pictures."""
    text = load_prompt(f"{kind}.v1").render(values)
    return _as_lesson(kind, row, dice, text, reply, blind=blind)


def student_lesson(
    row: WorldRow,
    dice: Random,
    axis: str | None,
    reply: dict[str, Any],
    *,
    score_only: bool = False,
) -> Lesson:
    """A lesson with a student's prompt, about the pictures and the row's own text alone."""
    prompt_id, text = student_prompt(row.texts, axis, score_only=score_only)
    kind = prompt_id.split(".")[0] + (f".{axis}" if axis else "")
    return _as_lesson(kind, row, dice, text, reply, blind=False)


def _as_lesson(
    kind: str, row: WorldRow, dice: Random, text: str, reply: dict[str, Any], *, blind: bool
) -> Lesson:
    if dice.random() < _RETRIED:
        text += "\n\n" + load_prompt("retry.v1").render({"fault": dice.choice(_FAULTS)})
    return Lesson(
        kind=kind,
        pictures=() if blind else tuple(row.pictures.values()),
        seen=() if blind else glimpses([row.scenes[column] for column in row.pictures]),
        text=text,
        reply=json.dumps(reply, separators=(",", ":")),
        system=None if blind else load_prompt("system.v1").text,
    )


def edit_of(row: WorldRow) -> Edit:
    """The edit that a row is of. Raises TypeError for a generated picture."""
    if not isinstance(row.case, Edit):
        raise TypeError(f"row {row.id} is no edit")
    return row.case


def made_of(row: WorldRow) -> Made:
    """The picture that a row is of. Raises TypeError for an edit."""
    if not isinstance(row.case, Made):
        raise TypeError(f"row {row.id} is no picture for a prompt")
    return row.case
