"""ShapeWorld in English: what things are called, and plural, count and place words."""

from __future__ import annotations

from foundry.shapeworld.scenes import PLACES, Scene, Thing

COUNT_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
_PLACE_PHRASES: dict[str, str] = dict(
    zip(
        PLACES,
        (
            "at the top left",
            "at the top",
            "at the top right",
            "on the left",
            "in the centre",
            "on the right",
            "at the bottom left",
            "at the bottom",
            "at the bottom right",
        ),
        strict=True,
    )
)


def plural(shape: str) -> str:
    """`circles`, `crosses`."""
    return shape + ("es" if shape.endswith("s") else "s")


def with_article(noun: str) -> str:
    """`a circle`, `an orange circle`."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def place_phrase(place: str) -> str:
    """Where a place is: `at the top left`. Raises KeyError for what is no place."""
    return _PLACE_PHRASES[place]


def look(thing: Thing) -> str:
    """Size, pattern, colour and shape, the usual ones left out: `large striped red circle`."""
    size = "" if thing.size == "medium" else thing.size
    pattern = "" if thing.pattern == "plain" else thing.pattern
    return " ".join(word for word in (size, pattern, thing.colour, thing.shape) if word)


def name_thing(thing: Thing, scene: Scene) -> str:
    """The shortest name that fits no other thing of the scene: `red circle`, or with its place."""
    name = f"{thing.colour} {thing.shape}"
    same = [t for t in scene.things if (t.colour, t.shape) == (thing.colour, thing.shape)]
    return name if len(same) <= 1 else f"{name} {place_phrase(PLACES[thing.cell])}"
