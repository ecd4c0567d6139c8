"""Scenes written as a person would say them: `scene("white", "large red circle top left")`."""

from dataclasses import replace

from foundry.shapeworld.edit_truth import Request
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


BASE = scene(
    "white",
    "red circle top left",
    "small green star top",
    "large blue square centre",
    "striped navy cross bottom",
    "gold diamond bottom right",
)
ALIKE = scene(
    "sky", "red circle left", "small red circle right", "blue circle top", "grey star bottom"
)


def request(kind, *targets, **asked):
    return Request(kind=kind, targets=targets, **asked)


RECOLOUR = request("recolour", 0, to="green")
RESIZE = request("resize", 1, to="large")
MOVE = request("move", 4, to="middle left")
ADD = request("add", shape="star", colour="purple", size="small", place="middle right")
ADD_ANY = request("add", shape="star", colour="purple")
REPLACE = request("replace", 2, shape="triangle", colour="lime")
REMOVE = request("remove", 3)
BACKGROUND = request("background", to="mint")
ALL_GOLD = request("recolour", 0, 1, 2, to="gold")
