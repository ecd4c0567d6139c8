"""What the requests of an edit look like in an instruction."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from foundry.shapeworld.edit_truth import Request
from foundry.shapeworld.scenes import HELD_OUT, Scene
from foundry.shapeworld.wording import name_new, name_thing, place_phrase, plural

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


def write_instruction(source: Scene, requests: Sequence[Request], dice: Random) -> str:
    """One sentence a request, in words that fit the source scene and only the things meant."""
    return " ".join(_sentence(source, request, dice) for request in requests)


def asks_for_unseen(source: Scene, requests: Sequence[Request]) -> bool:
    """Whether a held-out combination of shape and colour is asked for."""
    before = source.by_key()
    return any(
        (request.shape, request.colour) in HELD_OUT
        or any((before[key].shape, request.to) in HELD_OUT for key in request.targets)
        for request in requests
    )


def _sentence(source: Scene, request: Request, dice: Random) -> str:
    words = {
        "old": _targets(source, request),
        "new": name_new(request.shape, request.colour, request.size, None),
        "where": f" {place_phrase(request.place)}" if request.place else "",
        "to": request.to or "",
    }
    return dice.choice(_TEMPLATES[request.kind]).format(**words)


def _targets(source: Scene, request: Request) -> str:
    things = [source.by_key()[key] for key in request.targets]
    if not things:
        return ""
    if len(things) > 1:
        # A request for several is for all of one shape.
        return f"all {plural(things[0].shape)}"
    return f"the {name_thing(things[0], source)}"
