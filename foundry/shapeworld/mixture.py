"""Which lessons the bundled judge gets, how many of each kind, and in which order.

The table `MIXTURE` says it; the lessons themselves are in lessons.py and scene_lessons.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from random import Random
from typing import Literal

from PIL import Image

from foundry.shapeworld.drawing import jpeg_bytes
from foundry.shapeworld.edits import Edit
from foundry.shapeworld.lesson import Lesson
from foundry.shapeworld.lessons import (
    compare_rationales,
    plan_checklist,
    report_differences,
    rewrite_instruction,
    score_edit,
    score_edit_fast,
    score_picture,
    score_picture_fast,
    score_quality,
    score_rewritten,
)
from foundry.shapeworld.rows import ROWS_A_GROUP, WorldRow, make_group
from foundry.shapeworld.scene_lessons import caption, check, compare, follow, spot

Teach = Callable[[WorldRow, Random], list[Lesson]]
Phase = Literal["look", "base", "judge"]


@dataclass(frozen=True, kw_only=True)
class Share:
    """How often a row of a world is made into lessons of a kind: a mean number of times.

    By phase of a training: `look` comes first and holds captions alone, `base` has comparisons,
    differences, checklists and what became of a wish too, and no score is shown before `judge`.
    """

    teach: Teach
    world: str
    look: float = 0.0
    base: float = 0.0
    judge: float = 0.0


# Scored with and without a report or checklist are the same rows, equally often.
MIXTURE = (
    Share(teach=caption, world="edit", look=1.0, base=0.3, judge=0.05),
    Share(teach=compare, world="edit", base=0.5, judge=0.1),
    Share(teach=spot, world="edit", base=0.7, judge=0.05),
    Share(teach=report_differences, world="edit", base=1.5, judge=0.7),
    Share(teach=follow, world="edit", base=0.5, judge=0.05),
    Share(teach=rewrite_instruction, world="edit", base=0.1, judge=0.15),
    Share(teach=score_edit, world="edit", judge=0.6),
    Share(teach=score_rewritten, world="edit", judge=0.3),
    Share(teach=score_edit_fast, world="edit", judge=0.1),
    Share(teach=compare_rationales, world="edit", judge=0.15),
    Share(teach=caption, world="gen", look=0.5, base=0.3, judge=0.05),
    Share(teach=check, world="gen", base=0.7, judge=0.1),
    Share(teach=plan_checklist, world="gen", base=0.1, judge=0.1),
    Share(teach=score_picture, world="gen", judge=0.6),
    Share(teach=score_picture_fast, world="gen", judge=0.1),
    Share(teach=compare_rationales, world="gen", judge=0.1),
    Share(teach=score_quality, world="gen", judge=0.15),
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
