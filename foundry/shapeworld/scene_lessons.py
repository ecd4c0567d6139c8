"""Questions about ShapeWorld rows that are asked in training alone, as steps on the way to a judge.

Their prompts are `scene_*`. Replies say what is seen, and beside it what of it is not as asked
("navy near", "shape wrong"); none has a verdict or a score.
"""

from __future__ import annotations

from random import Random

from foundry.shapeworld.edits import Edit
from foundry.shapeworld.gen_truth import checklist
from foundry.shapeworld.glimpses import change_at_place
from foundry.shapeworld.lesson import Lesson, edit_of, made_of, plain_lesson
from foundry.shapeworld.rationales import evidence, tell_outcomes, tell_unasked
from foundry.shapeworld.rows import WorldRow
from foundry.shapeworld.scenes import CELLS, PLACES, Scene
from foundry.shapeworld.wording import look
from pipelines.rendering import AXES


def caption(row: WorldRow, dice: Random) -> list[Lesson]:
    """Tell what one picture of the row shows."""
    column = dice.choice(sorted(row.pictures))
    return [plain_lesson("scene_caption", row, describe(row.scenes[column]), column)]


def describe(scene: Scene) -> str:
    """The background, and every thing with its place."""
    things = "; ".join(f"{PLACES[thing.cell]} {look(thing)}" for thing in scene.things)
    return f"{scene.background} background; {things}."


def compare(row: WorldRow, dice: Random) -> list[Lesson]:
    """Tell of both pictures of an edit, place by place, what changed there."""
    return [plain_lesson("scene_compare", row, changes_by_place(edit_of(row)))]


def spot(row: WorldRow, dice: Random) -> list[Lesson]:
    """Name the places where something changed between the two pictures of an edit."""
    return [plain_lesson("scene_spot", row, changes_by_place(edit_of(row), all_places=False))]


def follow(row: WorldRow, dice: Random) -> list[Lesson]:
    """Tell what became of all that an instruction asks for, and what changed unasked."""
    edit = edit_of(row)
    replies = {"execution": tell_outcomes(edit), "consistency": tell_unasked(edit)}
    return [
        plain_lesson("scene_follow", row, replies[axis], values=row.texts | {"axis": axis})
        for axis in AXES
    ]


def check(row: WorldRow, dice: Random) -> list[Lesson]:
    """Tell of all that a prompt asks for what its picture shows."""
    made = made_of(row)
    told = (evidence(item, made.scene) for item in checklist(made.wanted))
    return [plain_lesson("scene_check", row, ". ".join(told) + ".", values=row.texts)]


def changes_by_place(edit: Edit, *, all_places: bool = True) -> str:
    """Whether the background changed and what did in every place, whatever moved where.

    Without `all_places`, only of what changed.
    """
    source, edited = edit.source, edit.edited
    before, after = ({thing.cell: thing for thing in s.things} for s in (source, edited))
    found = {"background": "same" if source.background == edited.background else "other"}
    found |= {PLACES[cell]: change_at_place(before.get(cell), after.get(cell)) for cell in CELLS}
    told = (
        f"{where} {what}"
        for where, what in found.items()
        if all_places or what not in ("same", "nothing")
    )
    return ("; ".join(told) or "nothing") + "."
