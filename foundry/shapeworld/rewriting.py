"""Instructions that a finished edit does not follow, or follows in part: what a rewriter should do.

By the kinds of `pipelines.rendering.MISMATCHES`, from the demands alone: who rewrites sees no
picture, so a thing that is named anew may not be there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from foundry.shapeworld.instructions import Demand, Named
from foundry.shapeworld.scenes import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT,
    PLACES,
    SHAPES,
    SIZES,
    are_adjacent,
    near_colour,
)

# How often another colour is the near one, and another place one that touches the first: what is
# nearly right is scarcest.
_NEARLY = 0.6


def rewrite_demands(demands: Sequence[Demand], kind: str, dice: Random) -> list[Demand]:
    """Demands off from the given ones in the way of a kind.

    `other_attribute` changes one of several, the others but `extra_demand` all. Raises KeyError for
    a kind that is none.
    """
    if kind == "extra_demand":
        return [*demands, _further(demands, dice)]
    if kind == "other_attribute":
        one = dice.randrange(len(demands))
        return [_other_attribute(d, dice) if i == one else d for i, d in enumerate(demands)]
    change = {"other_object": _other_object, "opposite_action": _opposite}[kind]
    return [change(demand, dice) for demand in demands]


def _further(demands: Sequence[Demand], dice: Random) -> Demand:
    kinds = {demand.kind for demand in demands}
    if "background" not in kinds and (dice.random() < 0.5 or "add" in kinds):
        return Demand(kind="background", to=dice.choice(BACKGROUNDS))
    taken = {demand.shape for demand in demands} | {d.old.shape for d in demands if d.old}
    shape = _other(dice, SHAPES, *taken)
    return Demand(kind="add", shape=shape, colour=_colour(dice, shape))


def _other_object(demand: Demand, dice: Random) -> Demand:
    if demand.kind == "background":
        shape = dice.choice(SHAPES)
        colour = _colour(dice, shape)
        named = Named(shape=shape, colour=colour)
        return Demand(kind="recolour", old=named, to=_colour(dice, shape, colour))
    if demand.old is None:
        shape = _other(dice, SHAPES, demand.shape)
        return replace(demand, shape=shape, colour=_colour(dice, shape, demand.colour))
    shape = _other(dice, SHAPES, demand.old.shape, demand.shape)
    if demand.old.colour is None:
        named = Named(shape=shape)
    else:
        named = Named(shape=shape, colour=_colour(dice, shape, demand.to))
    to = demand.to
    if to in COLOURS and (shape, to) in HELD_OUT:
        to = _colour(dice, shape, named.colour)
    return replace(demand, old=named, to=to)


def _opposite(demand: Demand, dice: Random) -> Demand:
    old, to = demand.old, demand.to
    match demand.kind:
        case "add":
            shape = demand.shape or dice.choice(SHAPES)
            named = Named(shape=shape, colour=demand.colour or _colour(dice, shape))
            return Demand(kind="remove", old=named)
        case "remove" if old:
            colour = old.colour or _colour(dice, old.shape)
            return Demand(kind="add", shape=old.shape, colour=colour, place=old.place)
        case "replace" if old and demand.shape:
            new = Named(shape=demand.shape, colour=demand.colour or _colour(dice, demand.shape))
            return Demand(kind="replace", old=new, shape=old.shape, colour=old.colour)
        case "recolour" if old and old.colour:
            return replace(demand, old=replace(old, colour=to), to=old.colour)
        case "resize":
            opposites = {"small": "large", "large": "small"}
            return replace(demand, to=opposites.get(to or "") or dice.choice(("small", "large")))
        case "move":
            cell = PLACES.index(to or "centre")
            return replace(demand, to=PLACES[8 - cell if cell != 4 else dice.choice((0, 2, 6, 8))])
    return _other_attribute(demand, dice)


def _other_attribute(demand: Demand, dice: Random) -> Demand:
    options: dict[str, tuple[Callable[[Demand, Random], Demand], ...]] = {
        "add": (_new_colour, _new_colour, _new_place, _new_size),
        "replace": (_new_colour, _new_colour, _new_shape),
        "recolour": (_to_colour, _to_colour, _to_size),
        "resize": (_to_size, _to_size, _to_colour),
        "move": (_to_place, _to_place, _to_colour),
        "remove": (_to_colour, _to_size),
        "background": (_to_background,),
    }
    return dice.choice(options[demand.kind])(demand, dice)


def _new_colour(demand: Demand, dice: Random) -> Demand:
    shape = demand.shape or dice.choice(SHAPES)
    colour = _near_or_other(dice, shape, demand.colour)
    return replace(demand, colour=colour)


def _new_shape(demand: Demand, dice: Random) -> Demand:
    taken = (demand.shape, demand.old.shape if demand.old else None)
    shape = _other(dice, [s for s in SHAPES if (s, demand.colour) not in HELD_OUT], *taken)
    return replace(demand, shape=shape)


def _new_place(demand: Demand, dice: Random) -> Demand:
    return replace(demand, place=_other(dice, PLACES, demand.place))


def _new_size(demand: Demand, dice: Random) -> Demand:
    return replace(demand, size=_other(dice, SIZES, demand.size))


def _to_colour(demand: Demand, dice: Random) -> Demand:
    shape = demand.old.shape if demand.old else dice.choice(SHAPES)
    now = demand.old.colour if demand.old else None
    asked = demand.to if demand.kind == "recolour" else None
    colour = _near_or_other(dice, shape, asked, now)
    return Demand(kind="recolour", old=demand.old, to=colour)


def _to_size(demand: Demand, dice: Random) -> Demand:
    asked = demand.to if demand.kind == "resize" else None
    return Demand(kind="resize", old=demand.old, to=_other(dice, SIZES, asked))


def _to_place(demand: Demand, dice: Random) -> Demand:
    cell = PLACES.index(demand.to or "centre")
    touching = [PLACES[c] for c in range(9) if c != cell and are_adjacent(c, cell)]
    near = dice.random() < _NEARLY
    return replace(demand, to=dice.choice(touching) if near else _other(dice, PLACES, demand.to))


def _to_background(demand: Demand, dice: Random) -> Demand:
    return replace(demand, to=_other(dice, BACKGROUNDS, demand.to))


def _near_or_other(dice: Random, shape: str, colour: str | None, now: str | None = None) -> str:
    near = near_colour(colour) if colour else None
    if near and near != now and (shape, near) not in HELD_OUT and dice.random() < _NEARLY:
        return near
    return _colour(dice, shape, colour, now)


def _colour(dice: Random, shape: str, *taken: str | None) -> str:
    """A colour that a thing of the shape may have where held-out looks are not drawn."""
    return _other(dice, [c for c in COLOURS if (shape, c) not in HELD_OUT], *taken)


def _other(dice: Random, values: Sequence[str], *taken: str | None) -> str:
    return dice.choice([value for value in values if value not in taken])
