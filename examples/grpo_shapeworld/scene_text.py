"""A scene as the policy writes it: `silver ; 0 small blue star ; 4 large red circle`."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from foundry.shapeworld.scenes import (
    BACKGROUNDS,
    CELLS,
    COLOURS,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    make_scene,
)

# Most words of a scene: its background, and a sign and four words a thing.
MOST_WORDS = 1 + 5 * 8


def write_scene(scene: Scene) -> str:
    """A scene in words, cells first. Patterns, and what leans, are left out."""
    things = [f"; {t.cell} {t.size} {t.colour} {t.shape}" for t in scene.things]
    return " ".join([scene.background, *things])


def read_scene(text: str) -> Scene | None:
    """The scene that a text tells; None for one that tells none."""
    background, *things = [part.split() for part in text.split(";")]
    if len(background) != 1 or background[0] not in BACKGROUNDS or not things:
        return None
    made = [thing for key, words in enumerate(things) if (thing := _read_thing(words, key))]
    if len(made) < len(things):
        return None
    try:
        return make_scene(background[0], made)
    except ValueError:
        return None


def _read_thing(words: list[str], key: int) -> Thing | None:
    if len(words) != 4:
        return None
    cell, size, colour, shape = words
    known = size in SIZES and colour in COLOURS and shape in SHAPES and cell in map(str, CELLS)
    if not known:
        return None
    return Thing(key=key, shape=shape, colour=colour, size=size, pattern="plain", cell=int(cell))


def read_edited(source: Scene, text: str) -> Scene | None:
    """The scene that a text tells, its things known by their keys in the source; None as above.

    What stands where something stood is that thing, however changed. What stands elsewhere is a
    thing of its shape that left its place, the one most like it first, and else it is new.
    """
    told = read_scene(text)
    if told is None:
        return None
    keys = {thing.cell: thing.key for thing in source.things}
    left = keys.keys() - {thing.cell for thing in told.things}
    moves = [
        (_likeness(old, new), old, new)
        for new in told.things
        if new.cell not in keys
        for old in source.things
        if old.cell in left and old.shape == new.shape
    ]
    taken: set[int] = set()
    for _, old, new in sorted(moves, key=lambda move: move[0], reverse=True):
        if new.cell not in keys and old.key not in taken:
            keys[new.cell] = old.key
            taken.add(old.key)
    fresh = count(max(thing.key for thing in source.things) + 1)
    things = [replace(t, key=keys[t.cell] if t.cell in keys else next(fresh)) for t in told.things]
    return make_scene(told.background, things)


def _likeness(a: Thing, b: Thing) -> int:
    return 2 * (a.colour == b.colour) + (a.size == b.size)
