"""What the policy writes: a scene, as `silver ; 0 small blue star ; 4 large red circle`, or what
is to be changed in one, as `silver ; 0 none ; 4 large red circle`, and `same` for nothing.
"""

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

# Most words of a text: a background, and a sign and four words a cell.
MOST_WORDS = 1 + 5 * len(CELLS)
_NOTHING, _GONE = "same", "none"


def write_scene(scene: Scene) -> str:
    """A scene in words, cells first. Patterns, and what leans, are left out."""
    return " ; ".join([scene.background, *(_write_thing(thing) for thing in scene.things)])


def write_changes(source: Scene, edited: Scene) -> str:
    """What is otherwise in an edited scene than in its source, in words."""
    before = {thing.cell: _write_thing(thing) for thing in source.things}
    after = {thing.cell: _write_thing(thing) for thing in edited.things}
    told = [edited.background] if edited.background != source.background else []
    for cell in CELLS:
        if before.get(cell) != after.get(cell):
            told.append(after.get(cell, f"{cell} {_GONE}"))
    return " ; ".join(told) or _NOTHING


def _write_thing(thing: Thing) -> str:
    return f"{thing.cell} {thing.size} {thing.colour} {thing.shape}"


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
    """The source with the changes that a text tells. What it tells as it already was is no change.

    None for a text that cannot be read, tells a cell or the background twice, takes away what is
    not there, or leaves no thing or too many.

    Things are known by their keys in the source. What stands where something stood is that thing,
    however changed. What stands elsewhere is a thing of its shape that left its place, the one most
    like it first, and else it is new.
    """
    told = _changed(source, text)
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


def _changed(source: Scene, text: str) -> Scene | None:
    """The scene that comes of the changes, its keys as in `read_scene`."""
    background, stands = source.background, {str(t.cell): _write_thing(t) for t in source.things}
    parts = [part.split() for part in text.split(";")]
    if parts == [[_NOTHING]]:
        parts = []
    cells = [part[0] if len(part) > 1 else "" for part in parts]
    if len(set(cells)) < len(cells):
        return None
    for cell, part in zip(cells, parts, strict=True):
        if part[1:] == [_GONE] and cell in stands:
            del stands[cell]
        elif cell:
            stands[cell] = " ".join(part)
        else:
            background = " ".join(part)
    return read_scene(" ; ".join([background, *stands.values()]))


def _likeness(a: Thing, b: Thing) -> int:
    return 2 * (a.colour == b.colour) + (a.size == b.size)
