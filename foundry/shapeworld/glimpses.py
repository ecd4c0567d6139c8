"""What a judge in training is told of every cell of a picture, beside the lessons' replies."""

from __future__ import annotations

from collections.abc import Sequence

from foundry.shapeworld.differences import differences_of_thing
from foundry.shapeworld.scenes import CELLS, Scene, Thing

# Words for each cell, in order.
Glimpses = tuple[tuple[str, ...], ...]


def glimpses(scenes: Sequence[Scene]) -> tuple[Glimpses, ...]:
    """For each of the pictures shown: the words for what is in each cell.

    In a second picture also how the cell differs from the first one's.
    """
    told = [tuple(_looks(scene, cell) for cell in CELLS) for scene in scenes]
    if len(scenes) == 2:
        source, edited = scenes
        told[1] = tuple(_looks(edited, cell) + _changes(source, edited, cell) for cell in CELLS)
    return tuple(told)


def _looks(scene: Scene, cell: int) -> tuple[str, ...]:
    thing = _at(scene, cell)
    if thing is None:
        return ("empty", scene.background)
    return (thing.size, thing.pattern, thing.colour, thing.shape)


def _changes(source: Scene, edited: Scene, cell: int) -> tuple[str, ...]:
    old, new = _at(source, cell), _at(edited, cell)
    words = tuple(change_at_place(old, new).split())
    if old is None and new is None and source.background != edited.background:
        words += ("background",)
    before, after = source.by_key(), edited.by_key()
    if new is not None and new.key in before and before[new.key].cell != cell:
        words += ("moved",)
    if words in (("same",), ("nothing",)):
        return words
    # What moved is told as gone here and new there; it is as significant as its way is long.
    here = {thing.key for thing in (old, new) if thing}
    known = [differences_of_thing(before[key], after.get(key)) for key in here & before.keys()]
    minor = len(known) == len(here) > 0 and not any(d.significant for some in known for d in some)
    return (*words, "minor" if minor else "significant")


def _at(scene: Scene, cell: int) -> Thing | None:
    return next((thing for thing in scene.things if thing.cell == cell), None)


def change_at_place(old: Thing | None, new: Thing | None) -> str:
    """What changed at a place, in a word or a few, whatever moved where."""
    if old is None:
        return "nothing" if new is None else "new"
    if new is None:
        return "gone"
    names = {"texture": "pattern"}
    found = [d.category for d in differences_of_thing(old, new)]
    return " ".join(names.get(category, category) for category in found) or "same"
