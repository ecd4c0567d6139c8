"""Scenes written as a person would say them: `scene("white", "large red circle top left")`."""

from dataclasses import replace

from foundry.shapeworld.scenes import (
    COLOURS,
    PATTERNS,
    PLACES,
    SHAPES,
    SIZES,
    Thing,
    make_scene,
)


def thing(words, key):
    """A thing from its words in any order; medium and plain where nothing is said."""
    found = {"size": "medium", "pattern": "plain"}
    # A side alone is its middle.
    short = {"top": "top middle", "left": "middle left", "right": "middle right"}
    short["bottom"] = "bottom middle"
    said = next(
        p for p in sorted([*PLACES, *short], key=len, reverse=True) if words.endswith(" " + p)
    )
    place = short.get(said, said)
    for word in words.removesuffix(said).split():
        for name, known in (
            ("shape", SHAPES),
            ("colour", COLOURS),
            ("size", SIZES),
            ("pattern", PATTERNS),
        ):
            if word in known:
                found[name] = word
    return Thing(key=key, cell=PLACES.index(place), **found)


def scene(background, *things):
    """A scene; keys count from 0 in the order given."""
    return make_scene(background, [thing(words, key) for key, words in enumerate(things)])


def after(source, *, remove=(), add=(), background=None, **changes):
    """The source edited: `t2={"colour": "red"}` or `t2="small red star top"` changes thing 2."""
    things = {key: t for key, t in source.by_key().items() if key not in remove}
    for name, change in changes.items():
        key = int(name[1:])
        things[key] = (
            thing(change, key) if isinstance(change, str) else replace(things[key], **change)
        )
    for i, words in enumerate(add):
        things[100 + i] = thing(words, 100 + i)
    return make_scene(background or source.background, list(things.values()))
