"""ShapeWorld in English: what things are called, and plural, count and place words."""

from __future__ import annotations

from foundry.shapeworld.scenes import PLACES, Scene, Thing

SIDE_WORDS = {"left": "left of", "right": "right of", "above": "above", "below": "below"}
COUNT_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")


def plural(shape: str) -> str:
    """`circles`, `crosses`."""
    return shape + ("es" if shape.endswith("s") else "s")


def with_article(noun: str) -> str:
    """`a circle`, `an orange circle`."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def place_phrase(place: str) -> str:
    """Where a place is: `at the top left`, `in the centre`."""
    return "in the centre" if place == "centre" else f"at the {place}"


def look(thing: Thing) -> str:
    """Size, pattern, colour and shape, the usual ones left out: `large striped red circle`."""
    size = "" if thing.size == "medium" else thing.size
    pattern = "" if thing.pattern == "plain" else thing.pattern
    return " ".join(word for word in (size, pattern, thing.colour, thing.shape) if word)


def name_new(shape: str | None, colour: str | None, size: str | None, place: str | None) -> str:
    """A thing that is to come, as far as something is said of it: `a small red circle`.

    With a place, where: `a red circle at the top left`. Nothing at all for nothing said.
    """
    words = " ".join(word for word in (size, colour, shape) if word)
    where = f" {place_phrase(place)}" if place else ""
    return with_article(words) + where if words else ""


def name_by_place(thing: Thing) -> str:
    """A name that fits no other thing of its scene: `top left red circle`."""
    return f"{PLACES[thing.cell]} {thing.colour} {thing.shape}"


def shortest_name(thing: Thing, scene: Scene) -> tuple[str, str | None]:
    """Colour and place by which, with its shape, a thing is told from every other of the scene.

    The place is None where the colour is enough.
    """
    same = [t for t in scene.things if (t.colour, t.shape) == (thing.colour, thing.shape)]
    return thing.colour, None if len(same) <= 1 else PLACES[thing.cell]
