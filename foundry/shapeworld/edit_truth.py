"""The two scores of an edit, from the scenes and the requests alone: execution and consistency.

The rules stand in docs/shapeworld.md. Source of the rubrics: FIRM (arXiv:2603.12247).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foundry.shapeworld.differences import Difference, all_differences, is_another_scene
from foundry.shapeworld.scenes import (
    PLACES,
    SIZES,
    Scene,
    Thing,
    are_adjacent,
    are_near,
    size_steps,
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One thing that an instruction asks for.

    `kind`: add, remove, replace, recolour, resize, move or background. `targets`: keys in the
    source scene; several for "all the circles". `to`: the colour, size, place or background asked
    for. `shape`, `colour`, `size`, `place`: what an added or replacing thing shall be; None where
    the instruction does not say. `missing`: what a request without targets calls a thing that the
    source scene does not have: `red circle`.
    """

    kind: str
    targets: tuple[int, ...] = ()
    to: str | None = None
    shape: str | None = None
    colour: str | None = None
    size: str | None = None
    place: str | None = None
    missing: str | None = None


def execution_score(source: Scene, edited: Scene, requests: Sequence[Request]) -> int:
    """How well an edit carries out its instruction, 1-5, whatever else changed.

    Each target of each request has a level 1-5. All at 4 or more: the lowest. At least half at 4
    or more, or none below 3: 3. Any above 1: 2. Else 1.
    """
    added = added_things(source, edited, requests)
    levels = [
        level
        for request, thing in zip(requests, added, strict=True)
        for level in request_levels(source, edited, request, thing)
    ]
    done = sum(level >= 4 for level in levels)
    if done == len(levels):
        return min(levels)
    if 2 * done >= len(levels) or min(levels) >= 3:
        return 3
    return 2 if max(levels) > 1 else 1


def request_levels(
    source: Scene, edited: Scene, request: Request, added: Thing | None
) -> list[int]:
    """How well each target of one request came out, 1-5; `added` is what came of an add."""
    if request.kind == "background":
        if edited.background == request.to:
            return [5]
        return [1 if edited.background == source.background else 2]
    if request.kind == "add":
        return [_likeness(added, request) if added else 1]
    if request.missing:
        return [1]
    before, after = source.by_key(), edited.by_key()
    return [_level(request, before[key], after.get(key)) for key in request.targets]


def _level(request: Request, old: Thing, new: Thing | None) -> int:
    match request.kind:
        case "remove":
            return 5 if new is None else 1
        case "replace":
            if new is None:
                return 2
            if (new.shape, new.colour) == (old.shape, old.colour):
                return 1
            return _likeness(new, request)
        case _ if new is None:
            return 1
        case "recolour":
            if new.colour == request.to:
                return 5
            if new.colour == old.colour:
                return 1
            return 4 if are_near(new.colour, request.to or "") else 2
        case "resize":
            return _resize_level(old.size, new.size, request.to or "")
        case "move":
            return _move_level(old.cell, new.cell, PLACES.index(request.to or ""))
    raise ValueError(f"no request '{request.kind}'")


def _resize_level(old: str, new: str, wanted: str) -> int:
    if new == wanted:
        return 5
    way, asked = (SIZES.index(size) - SIZES.index(old) for size in (new, wanted))
    return 3 if way * asked > 0 else 1


def _move_level(old: int, new: int, wanted: int) -> int:
    if new == wanted:
        return 5
    if new == old:
        return 1
    return 3 if are_adjacent(new, wanted) else 2


def _likeness(thing: Thing, request: Request) -> int:
    """Level of a new thing: 5 as asked, 4 slightly off in one point, 3 in two or wrong in one."""
    wrong, slight = _misses(thing, request)
    return 5 - slight if wrong == 0 else max(2, 4 - wrong)


def misses(thing: Thing, request: Request) -> tuple[list[str], list[str]]:
    """Which of the attributes that a request states are plainly wrong, and which slightly off."""
    wrong, near = [], []
    if request.shape is not None and thing.shape != request.shape:
        wrong.append("shape")
    if request.colour is not None and thing.colour != request.colour:
        (near if are_near(thing.colour, request.colour) else wrong).append("colour")
    if request.place is not None and PLACES[thing.cell] != request.place:
        wrong.append("place")
    if request.size is not None and thing.size != request.size:
        (near if size_steps(thing.size, request.size) == 1 else wrong).append("size")
    return wrong, near


def _misses(thing: Thing, request: Request) -> tuple[int, int]:
    """How many attributes `misses` names of either sort."""
    wrong, near = misses(thing, request)
    return len(wrong), len(near)


def added_things(source: Scene, edited: Scene, requests: Sequence[Request]) -> list[Thing | None]:
    """What came of each add: of the added things that no earlier one took, the one most like it.

    None for the other requests, and for an add that nothing came of.
    """
    before = source.by_key()
    left = [thing for thing in edited.things if thing.key not in before]
    found: list[Thing | None] = []
    for request in requests:
        adds = left if request.kind == "add" else []
        found.append(min(adds, key=lambda t: (*_misses(t, request), t.key), default=None))
        left = [thing for thing in left if thing is not found[-1]]
    return found


def unintended(source: Scene, edited: Scene, requests: Sequence[Request]) -> list[Difference]:
    """The differences that no request accounts for.

    Exempt are the attribute that was to change (rightly or not: that is execution), all of a
    replaced thing, one added thing for each add, and what no scene holds: occlusion, nuisance.
    """
    exempt: set[tuple[int | None, str]] = set()
    attribute = {"recolour": "colour", "resize": "size", "move": "position"}
    for request, added in zip(requests, added_things(source, edited, requests), strict=True):
        match request.kind:
            case "background":
                exempt.add((None, "background"))
            case "add":
                if added:
                    exempt.add((added.key, "presence"))
            case "replace":
                exempt |= {
                    (key, category)
                    for key in request.targets
                    for category in ("presence", "shape", "colour", "size", "texture", "position")
                }
            case "remove":
                exempt |= {(key, "presence") for key in request.targets}
            case kind:
                exempt |= {(key, attribute[kind]) for key in request.targets}
    return [d for d in all_differences(source, edited) if (d.key, d.category) not in exempt]


def consistency_score(source: Scene, edited: Scene, requests: Sequence[Request]) -> int:
    """How well everything else was kept, 1-5: the lower of the two ladders.

    Significant unintended changes: none 5, one 4, two or three 3, more 2. Minor ones: none 5, one
    or two 4, three or four 3, more 2. 1 for a picture that is almost entirely another one.
    """
    extra = unintended(source, edited, requests)
    if is_another_scene(source, extra):
        return 1
    significant = sum(d.significant for d in extra)
    minor = len(extra) - significant
    return min(_rung(significant, (0, 1, 3)), _rung(minor, (0, 2, 4)))


def _rung(count: int, at_most: tuple[int, int, int]) -> int:
    for score, most in zip((5, 4, 3), at_most, strict=True):
        if count <= most:
            return score
    return 2
