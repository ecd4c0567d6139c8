"""A scene as the policy writes it: `silver ; large red circle 4 ; small blue star 0`."""

from __future__ import annotations

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
    """A scene in words. Patterns, and what leans, are left out."""
    things = [f"; {t.size} {t.colour} {t.shape} {t.cell}" for t in scene.things]
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
    size, colour, shape, cell = words
    known = size in SIZES and colour in COLOURS and shape in SHAPES and cell in map(str, CELLS)
    if not known:
        return None
    return Thing(key=key, shape=shape, colour=colour, size=size, pattern="plain", cell=int(cell))
