"""Conversations made of ShapeWorld rows, in the factory's own prompts and reply schemas.

A lesson is what the factory would ask about a row, and the reply of a judge that sees everything;
three more questions (`scene_*`) are asked in training alone, as steps on the way.
Which kinds of lesson the bundled judge gets, and how many of each, is the table `MIXTURE`: a
further kind of question is a function here and a line there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from random import Random
from typing import Any, Literal

from PIL import Image

from foundry.shapeworld.differences import Difference, differences
from foundry.shapeworld.drawing import jpeg_bytes
from foundry.shapeworld.edits import Edit
from foundry.shapeworld.gen_truth import checklist, verdict
from foundry.shapeworld.rationales import (
    evidence,
    explain_consistency,
    explain_execution,
    explain_picture,
)
from foundry.shapeworld.rows import ROWS_A_GROUP, Made, WorldRow, make_group
from foundry.shapeworld.scenes import CELLS, PLACES, Scene, Thing
from foundry.shapeworld.wording import look
from pipelines.rendering import AXES, render_checklist, render_report, student_prompt
from prompts import load_prompt
from schemas import load_schema

# A judge's own reports miss things: now and then one is left out here too, so that the judge looks
# at the pictures as well.
_MISSED = 0.15
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
    the order in which they are shown; `text` is the rendered prompt, `reply` the wanted answer,
    `system` the system text that goes with pictures, None without.
    """

    kind: str
    pictures: tuple[Any, ...]
    text: str
    reply: str
    system: str | None


Teach = Callable[[WorldRow, Random], list[Lesson]]
Phase = Literal["look", "base", "judge"]


@dataclass(frozen=True, kw_only=True)
class Share:
    """How often a row of a world is made into lessons of a kind: a mean number of times.

    By phase of a training: `look` comes first and holds captions alone, `base` has comparisons,
    differences and checklists too, and no score is shown before `judge`.
    """

    teach: Teach
    world: str
    look: float = 0.0
    base: float = 0.0
    judge: float = 0.0


def caption(row: WorldRow, dice: Random) -> list[Lesson]:
    """Tell what one picture of the row shows."""
    column = dice.choice(sorted(row.pictures))
    if isinstance(row.case, Made):
        scene = row.case.scene
    else:
        scene = row.case.source if column == "source_image" else row.case.edited
    return [_plain_lesson("scene_caption", row, describe(scene), column)]


def describe(scene: Scene) -> str:
    """The background, and every thing with its place."""
    things = "; ".join(f"{PLACES[thing.cell]} {look(thing)}" for thing in scene.things)
    return f"{scene.background} background; {things}."


def compare(row: WorldRow, dice: Random) -> list[Lesson]:
    """Tell of both pictures of an edit, place by place, what changed there."""
    return [_plain_lesson("scene_compare", row, changes_by_place(_edit(row)))]


def spot(row: WorldRow, dice: Random) -> list[Lesson]:
    """Name the places where something changed between the two pictures of an edit."""
    return [_plain_lesson("scene_spot", row, changes_by_place(_edit(row), all_places=False))]


def changes_by_place(edit: Edit, *, all_places: bool = True) -> str:
    """Whether the background changed and what did in every place, whatever moved where.

    Without `all_places`, only of what changed.
    """
    source, edited = edit.source, edit.edited
    before, after = ({thing.cell: thing for thing in s.things} for s in (source, edited))
    found = {"background": "same" if source.background == edited.background else "other"}
    found |= {PLACES[cell]: _change(before.get(cell), after.get(cell)) for cell in CELLS}
    told = (
        f"{where} {what}"
        for where, what in found.items()
        if all_places or what not in ("same", "nothing")
    )
    return ("; ".join(told) or "nothing") + "."


def _change(old: Thing | None, new: Thing | None) -> str:
    if old is None and new is None:
        return "nothing"
    if old is None:
        return "new"
    if new is None:
        return "gone"
    if old.shape != new.shape:
        return "shape"
    names = ("colour", "size", "pattern")
    changed = [name for name in names if getattr(old, name) != getattr(new, name)]
    return " ".join(changed) or "same"


def report_differences(row: WorldRow, dice: Random) -> list[Lesson]:
    """List what differs between two pictures: the significant at a glance, the rest after."""
    edit = _edit(row)
    obvious, detailed = split_report(differences(edit.source, edit.edited))
    reply = {"obvious": obvious, "detailed": detailed}
    return [_lesson("edit_differences", row, dice, {}, reply)]


def split_report(found: list[Difference]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Difference items as a reply holds them: significant ones are obvious, while they fit in."""
    lists = load_schema("edit_differences.v1")["properties"]
    items = [
        {name: getattr(d, name) for name in ("subject", "category", "before", "after")}
        for d in found
    ]
    at_a_glance = min(sum(d.significant for d in found), lists["obvious"]["maxItems"])
    return items[:at_a_glance], items[at_a_glance:][: lists["detailed"]["maxItems"]]


def plan_checklist(row: WorldRow, dice: Random) -> list[Lesson]:
    """Plan what a picture for the prompt must show."""
    items = [
        {"kind": item.kind, "question": item.question, "critical": item.critical}
        for item in checklist(_made(row).wanted)
    ]
    return [_lesson("gen_checklist", row, dice, row.texts, {"items": items}, blind=True)]


def score_edit(row: WorldRow, dice: Random) -> list[Lesson]:
    """Both axes, each once with the difference report and once from the pictures alone."""
    edit = _edit(row)
    found = differences(edit.source, edit.edited)
    if found and dice.random() < _MISSED:
        found.pop(dice.randrange(len(found)))
    report = row.texts | {"report": render_report(*split_report(found))}
    lessons = []
    for axis in AXES:
        explain = explain_execution if axis == "execution" else explain_consistency
        reply = {"reasoning": explain(edit), "score": row.scores[axis]}
        lessons.append(_lesson(f"edit_{axis}", row, dice, report, reply))
        lessons.append(_student_lesson(row, dice, axis, reply))
    return lessons


def score_edit_fast(row: WorldRow, dice: Random) -> list[Lesson]:
    """Both axes from the pictures alone, without reasoning."""
    return [
        _student_lesson(row, dice, axis, {"score": row.scores[axis]}, score_only=True)
        for axis in AXES
    ]


def score_picture(row: WorldRow, dice: Random) -> list[Lesson]:
    """A picture for a prompt, once with the checklist and once without."""
    made = _made(row)
    items = checklist(made.wanted)
    verdicts = [verdict(item, made.scene) for item in items]
    score = row.scores["score"]
    reply = {"reasoning": explain_picture(items, verdicts, score), "score": score}
    found = [
        {"id": f"c{i}", "evidence": evidence(item, made.scene), "verdict": verdict}
        for i, (item, verdict) in enumerate(zip(items, verdicts, strict=True), 1)
    ]
    values = row.texts | {"checklist": render_checklist(row.truth["checklist"])}
    return [
        _lesson("gen_score", row, dice, values, {"verdicts": found, **reply}),
        _student_lesson(row, dice, None, reply),
    ]


def score_picture_fast(row: WorldRow, dice: Random) -> list[Lesson]:
    """A picture for a prompt from the two alone, without reasoning."""
    reply = {"score": row.scores["score"]}
    return [_student_lesson(row, dice, None, reply, score_only=True)]


# Scored with and without a report or checklist are the same rows, equally often.
MIXTURE = (
    Share(teach=caption, world="edit", look=1.0, base=0.3, judge=0.1),
    Share(teach=compare, world="edit", base=0.6, judge=0.1),
    Share(teach=spot, world="edit", base=1.0, judge=0.2),
    Share(teach=report_differences, world="edit", base=1.0, judge=1.0),
    Share(teach=score_edit, world="edit", judge=0.5),
    Share(teach=score_edit_fast, world="edit", judge=0.2),
    Share(teach=caption, world="gen", look=0.5, base=0.3, judge=0.1),
    Share(teach=plan_checklist, world="gen", base=0.1, judge=0.1),
    Share(teach=score_picture, world="gen", judge=0.5),
    Share(teach=score_picture_fast, world="gen", judge=0.1),
)


def lessons_of_groups(seed: int, first: int, *, phase: Phase, size: int) -> list[Lesson]:
    """At least `size` lessons of the groups of rows from number `first` on, in random order.

    Groups take turns: one of edits, one of prompts. `first` must be spaced by more groups than a
    call can need: `size` of them.
    """
    lessons: list[Lesson] = []
    dice = Random(f"lessons-{seed}-{first}")
    groups = _groups(seed, first)
    while len(lessons) < size:
        for row in map(_as_read, next(groups)):
            for share in MIXTURE:
                if share.world == _world(row):
                    for _ in range(_times(getattr(share, phase), dice)):
                        lessons += share.teach(row, dice)
    dice.shuffle(lessons)
    return lessons


def every_lesson(seed: int, groups: int, *, phase: Phase) -> list[Lesson]:
    """Each kind of lesson of a phase, once about each row of so many groups a world."""
    lessons: list[Lesson] = []
    dice = Random(f"every-lesson-{seed}")
    for _, group in zip(range(groups * len(ROWS_A_GROUP)), _groups(seed, 0), strict=False):
        for row in map(_as_read, group):
            for share in MIXTURE:
                if share.world == _world(row) and getattr(share, phase):
                    lessons += share.teach(row, dice)
    return lessons


def _world(row: WorldRow) -> str:
    return "edit" if isinstance(row.case, Edit) else "gen"


def _as_read(row: WorldRow) -> WorldRow:
    """The row with its pictures as the factory reads them: from JPEG."""
    pictures = {
        name: Image.open(BytesIO(jpeg_bytes(picture, Random(f"{row.id}-{name}"))))
        for name, picture in row.pictures.items()
    }
    return replace(row, pictures=pictures)


def _groups(seed: int, index: int) -> Iterator[Iterator[WorldRow]]:
    while True:
        for kind in ROWS_A_GROUP:
            yield make_group(kind, seed, index, unseen=False)
        index += 1


def _times(mean: float, dice: Random) -> int:
    return int(mean) + (dice.random() < mean % 1)


def _plain_lesson(kind: str, row: WorldRow, reply: str, *columns: str) -> Lesson:
    """A lesson that the factory never asks, about the pictures of these columns, or about all."""
    return Lesson(
        kind=kind,
        pictures=tuple(row.pictures[column] for column in columns or row.pictures),
        text=load_prompt(f"{kind}.v1").text,
        reply=reply,
        system=load_prompt("system.v1").text,
    )


def _lesson(
    kind: str,
    row: WorldRow,
    dice: Random,
    values: dict[str, str],
    reply: dict[str, Any],
    *,
    blind: bool = False,
) -> Lesson:
    text = load_prompt(f"{kind}.v1").render(values)
    return _as_lesson(kind, row, dice, text, reply, blind=blind)


def _student_lesson(
    row: WorldRow,
    dice: Random,
    axis: str | None,
    reply: dict[str, Any],
    *,
    score_only: bool = False,
) -> Lesson:
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
        text=text,
        reply=json.dumps(reply, separators=(",", ":")),
        system=None if blind else load_prompt("system.v1").text,
    )


def _edit(row: WorldRow) -> Edit:
    if not isinstance(row.case, Edit):
        raise TypeError(f"row {row.id} is no edit")
    return row.case


def _made(row: WorldRow) -> Made:
    if not isinstance(row.case, Made):
        raise TypeError(f"row {row.id} is no picture for a prompt")
    return row.case
