"""What the requests of an edit look like in an instruction, written and read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from foundry.shapeworld.edit_truth import Request, request_levels
from foundry.shapeworld.scenes import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT,
    PLACES,
    SHAPES,
    SIZES,
    Scene,
    Thing,
)
from foundry.shapeworld.wording import name_new, place_phrase, plural, shortest_name

_TEMPLATES = {
    "add": ("Add {new}{where}.", "Put {new} into the picture{where}.", "Draw {new}{where}."),
    "remove": ("Remove {old}.", "Take {old} away.", "Erase {old}."),
    "replace": ("Replace {old} with {new}.", "Put {new} in place of {old}."),
    "recolour": ("Make {old} {to}.", "Paint {old} {to}.", "Change the colour of {old} to {to}."),
    "resize": ("Make {old} {to}.", "Change the size of {old} to {to}."),
    "move": ("Move {old} to the {to}.", "Shift {old} to the {to}."),
    "background": (
        "Make the background {to}.",
        "Change the background to {to}.",
        "Give the picture a background of {to}.",
    ),
}
_TO = {"recolour": COLOURS, "resize": SIZES, "move": PLACES, "background": BACKGROUNDS}
_SHAPE_OF_ALL = {plural(shape): shape for shape in SHAPES}


class UnreadInstruction(ValueError):
    """An instruction with a sentence that nothing of this world would write."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """What a sentence calls a thing of the picture; without a colour, all things of the shape."""

    shape: str
    colour: str | None = None
    place: str | None = None

    @property
    def words(self) -> str:
        """`the red circle`, `the red circle at the top left`, `all circles`."""
        if self.colour is None:
            return f"all {plural(self.shape)}"
        where = f" {place_phrase(self.place)}" if self.place else ""
        return f"the {self.colour} {self.shape}{where}"

    def fits(self, thing: Thing) -> bool:
        """Whether the words fit a thing."""
        return (
            thing.shape == self.shape
            and self.colour in (None, thing.colour)
            and self.place in (None, PLACES[thing.cell])
        )


@dataclass(frozen=True, kw_only=True)
class Demand:
    """One sentence of an instruction: a request before anybody has looked at the picture.

    `old` is the thing that should be there; the rest is as in `Request`.
    """

    kind: str
    old: Named | None = None
    to: str | None = None
    shape: str | None = None
    colour: str | None = None
    size: str | None = None
    place: str | None = None


def write_instruction(source: Scene, requests: Sequence[Request], dice: Random) -> str:
    """One sentence a request, in words that fit the source scene and only the things meant."""
    return write_demands([_demand(source, request) for request in requests], dice)


def write_demands(demands: Sequence[Demand], dice: Random) -> str:
    """One sentence a demand."""
    return " ".join(_sentence(demand, dice) for demand in demands)


def read_demands(instruction: str) -> list[Demand]:
    """The demands of an instruction, sentence by sentence.

    Raises UnreadInstruction for a sentence that `write_demands` could not have written.
    """
    return [_read(sentence) for sentence in re.split(r"(?<=\.) ", instruction)]


def requests_of(source: Scene, edited: Scene, demands: Sequence[Demand]) -> tuple[Request, ...]:
    """Demands as requests about the things of a scene.

    Of several things that the words fit, the one that came out best is meant. Where they fit none,
    the request has no targets, and in `missing` what it calls them.
    """
    return tuple(_request(source, edited, demand) for demand in demands)


def asks_for_unseen(source: Scene, requests: Sequence[Request]) -> bool:
    """Whether a held-out combination of shape and colour is asked for."""
    before = source.by_key()
    return any(
        (request.shape, request.colour) in HELD_OUT
        or any((before[key].shape, request.to) in HELD_OUT for key in request.targets)
        for request in requests
    )


def _demand(source: Scene, request: Request) -> Demand:
    asked = {name: getattr(request, name) for name in ("to", "shape", "colour", "size", "place")}
    return Demand(kind=request.kind, old=_name(source, request), **asked)


def _name(source: Scene, request: Request) -> Named | None:
    things = [source.by_key()[key] for key in request.targets]
    if not things:
        return None
    if len(things) > 1:
        # A request for several is for all of one shape.
        return Named(shape=things[0].shape)
    colour, place = shortest_name(things[0], source)
    return Named(shape=things[0].shape, colour=colour, place=place)


def _sentence(demand: Demand, dice: Random) -> str:
    words = {
        "old": demand.old.words if demand.old else "",
        "new": name_new(demand.shape, demand.colour, demand.size, None),
        "where": f" {place_phrase(demand.place)}" if demand.place else "",
        "to": demand.to or "",
    }
    return dice.choice(_TEMPLATES[demand.kind]).format(**words)


def _read(sentence: str) -> Demand:
    for kind, pattern in _patterns():
        found = pattern.fullmatch(sentence)
        if not found:
            continue
        said = {name: text for name, text in found.groupdict().items() if text}
        shape, place = said.pop("old_shape", None), _place(said.pop("old_where", None))
        if every := said.pop("all", None):
            shape = _SHAPE_OF_ALL[every]
        colour = said.pop("old_colour", None)
        old = Named(shape=shape, colour=colour, place=place) if shape else None
        return Demand(kind=kind, old=old, place=_place(said.pop("where", None)), **said)
    raise UnreadInstruction(f"no request of this world: '{sentence}'")


def _place(phrase: str | None) -> str | None:
    return next((place for place in PLACES if place_phrase(place) == phrase), None)


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """What each sentence of the templates looks like, by kind."""
    where = f" (?P<{{}}>{'|'.join(map(place_phrase, PLACES))})"
    one = f"the (?P<old_colour>{'|'.join(COLOURS)}) (?P<old_shape>{'|'.join(SHAPES)})"
    every = f"all (?P<all>{'|'.join(_SHAPE_OF_ALL)})"
    new = (
        f"an? (?:(?P<size>{'|'.join(SIZES)}) )?(?:(?P<colour>{'|'.join(COLOURS)}) )?"
        f"(?P<shape>{'|'.join(SHAPES)})"
    )
    return [
        (
            kind,
            re.compile(
                template.replace(".", r"\.").format(
                    old=f"(?:{every}|{one}(?:{where.format('old_where')})?)",
                    new=new,
                    where=f"(?:{where.format('where')})?",
                    to=f"(?P<to>{'|'.join(_TO.get(kind, ()))})",
                )
            ),
        )
        for kind, templates in _TEMPLATES.items()
        for template in templates
    ]


def _request(source: Scene, edited: Scene, demand: Demand) -> Request:
    asked = {name: getattr(demand, name) for name in ("to", "shape", "colour", "size", "place")}
    if demand.old is None:
        return Request(kind=demand.kind, **asked)
    meant = [(thing.key,) for thing in source.things if demand.old.fits(thing)]
    if not meant:
        called = " ".join(filter(None, (demand.old.colour, demand.old.shape)))
        return Request(kind=demand.kind, missing=called, **asked)
    if demand.old.colour is None:
        meant = [tuple(key for (key,) in meant)]
    requests = [Request(kind=demand.kind, targets=targets, **asked) for targets in meant]
    return max(requests, key=lambda r: min(request_levels(source, edited, r, None)))
