"""Edits of a scene: requests, how well they are carried out, and what changes besides.

Nothing here is a score. The truth is computed from the two scenes afterwards, so that an edit which
came out otherwise than was aimed at is still scored right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from foundry.shapeworld.changes import Canvas, disturb, swap_everything
from foundry.shapeworld.differences import all_differences, is_another_scene
from foundry.shapeworld.edit_truth import (
    Request,
    consistency_score,
    execution_score,
    unintended,
)
from foundry.shapeworld.scenes import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT,
    MOST_THINGS,
    PLACES,
    SHAPES,
    SIZES,
    Scene,
    are_adjacent,
    near_colour,
)

KINDS = ("add", "remove", "replace", "recolour", "resize", "move", "background")
TRIES = 40
# In so many edits what goes wrong besides may hit the very things that the instruction names.
_HIT_TARGETS = 0.5


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A source scene, what was asked for, and the scene that came of it."""

    source: Scene
    requests: tuple[Request, ...]
    edited: Scene


def random_edit(
    dice: Random,
    source: Scene,
    *,
    unseen: bool,
    execution: int,
    consistency: int,
    asked: tuple[Request, ...] | None = None,
) -> Edit:
    """An edit of a scene, aimed at two scores; the nearest of `TRIES` where none meets both.

    Of the requests `asked`, or where there are none of others at each try. An edit that nothing
    came of, where none of them can be told from another.
    """
    requests: tuple[Request, ...] = ()
    best, best_miss = None, 99
    for _ in range(TRIES):
        requests = asked or random_requests(dice, source, unseen=unseen)
        canvas = Canvas(source, dice, unseen=unseen)
        canvas.touched |= {key for request in requests for key in request.targets}
        for i, request in enumerate(requests):
            carry_out(canvas, request, _quality(execution, i, len(requests), dice))
        if dice.random() < _HIT_TARGETS:
            canvas.touched -= {key for request in requests for key in request.targets}
        if consistency == 1:
            swap_everything(canvas, requests)
        else:
            disturb(canvas, *_amounts(consistency, dice))
        edited = canvas.scene()
        if edited is None or misleads(source, edited, requests):
            continue
        miss = abs(execution_score(source, edited, requests) - execution)
        miss += abs(consistency_score(source, edited, requests) - consistency)
        if miss < best_miss:
            best, best_miss = Edit(source=source, requests=requests, edited=edited), miss
        if miss == 0:
            break
    return best or Edit(source=source, requests=requests, edited=source)


def misleads(source: Scene, edited: Scene, requests: Sequence[Request]) -> bool:
    """Whether the truth would go against the words.

    Something that the instruction's words fit came up beside what they were meant for ("remove all
    circles", and a new circle is there), or the picture is another one by what was asked for.
    """
    changes = all_differences(source, edited)
    if is_another_scene(source, changes) != is_another_scene(
        source, unintended(source, edited, requests)
    ):
        return True
    before = source.by_key()
    for request in requests:
        targets = [before[key] for key in request.targets]
        if not targets or (request.kind != "remove" and len(targets) < 2):
            continue
        for thing in edited.things:
            was = before.get(thing.key)
            new = was is None or (was.shape, was.colour) != (thing.shape, thing.colour)
            fits = thing.shape == targets[0].shape and (
                len(targets) > 1 or thing.colour == targets[0].colour
            )
            if thing.key not in request.targets and new and fits:
                return True
    return False


def random_requests(dice: Random, source: Scene, *, unseen: bool) -> tuple[Request, ...]:
    """One request, or in a quarter of cases two about different things."""
    kinds = dice.sample(KINDS, 2 if dice.random() < 0.25 else 1)
    requests: list[Request] = []
    for kind in kinds:
        named = {key for request in requests for key in request.targets}
        request = _random_request(dice, kind, source, named, unseen)
        if request and not any(_clash(request, other, source) for other in requests):
            requests.append(request)
    if requests:
        return tuple(requests)
    others = [b for b in BACKGROUNDS if b != source.background]
    return (Request(kind="background", to=dice.choice(others)),)


def _clash(a: Request, b: Request, source: Scene) -> bool:
    """Whether two requests want one place, or one brings in what the other's words may mean."""
    places = [r.to if r.kind == "move" else r.place for r in (a, b)]
    if places[0] is not None and places[0] == places[1]:
        return True
    before = source.by_key()
    return any(
        new.shape is not None and any(before[key].shape == new.shape for key in old.targets)
        for new, old in ((a, b), (b, a))
    )


def _random_request(
    dice: Random, kind: str, source: Scene, named: set[int], unseen: bool
) -> Request | None:
    if kind == "background":
        others = [b for b in BACKGROUNDS if b != source.background]
        return Request(kind=kind, to=dice.choice(others))
    if kind == "add":
        canvas = Canvas(source, dice, unseen=unseen)
        free = source.free_cells()
        if len(source.things) == MOST_THINGS:
            return None
        shape, colour = canvas.new_look()
        place = PLACES[dice.choice(free)] if dice.random() < 0.6 else None
        size = dice.choice(SIZES) if dice.random() < 0.3 else None
        return Request(kind=kind, shape=shape, colour=colour, size=size, place=place)
    things = [thing for thing in source.things if thing.key not in named]
    if not things:
        return None
    target = dice.choice(things)
    alike = tuple(t.key for t in source.things if t.shape == target.shape)
    group = kind in ("remove", "recolour", "resize") and len(alike) > 1 and dice.random() < 0.5
    if group and named & set(alike):
        return None
    targets = alike if group else (target.key,)
    old = [source.by_key()[key] for key in targets]
    match kind:
        case "remove":
            return Request(kind=kind, targets=targets)
        case "replace":
            shapes = [s for s in SHAPES if s != target.shape]
            colour = Canvas(source, dice, unseen=unseen).colour_for(shape := dice.choice(shapes))
            return Request(kind=kind, targets=targets, shape=shape, colour=colour)
        case "recolour":
            taken = {t.colour for t in old}
            held = set() if unseen else {c for s, c in HELD_OUT if s == target.shape}
            options = [c for c in COLOURS if c not in taken | held]
            return Request(kind=kind, targets=targets, to=dice.choice(options))
        case "resize":
            taken = {t.size for t in old}
            sizes = [size for size in SIZES if size not in taken]
            return Request(kind=kind, targets=targets, to=dice.choice(sizes)) if sizes else None
        case _:
            return Request(kind=kind, targets=targets, to=PLACES[dice.choice(source.free_cells())])


def _quality(execution: int, index: int, count: int, dice: Random) -> int:
    """The level to aim at for one request, so that all together may give `execution`."""
    if count == 1 or execution in (1, 5):
        return execution
    if execution == 4:
        return 4 if index == 0 else dice.choice((4, 5))
    if execution == 3:
        return 5 if index == 0 else dice.choice((1, 2, 3))
    return 2 if index == 0 else dice.choice((1, 2))


def _amounts(consistency: int, dice: Random) -> tuple[int, int]:
    """How many significant and minor changes to make besides."""
    amounts = {
        5: ((0, 0),),
        4: ((1, 0), (1, 1), (0, 1), (0, 2), (1, 2)),
        3: ((2, 0), (3, 0), (2, 1), (0, 3), (1, 3), (3, 2), (0, 4)),
        2: ((4, 0), (5, 0), (4, 1), (4, 2), (0, 5), (1, 5)),
    }
    return dice.choice(amounts[consistency])


def carry_out(canvas: Canvas, request: Request, level: int) -> None:
    """Change the canvas as a request asks, as well as `level` (1-5) says and the kind allows."""
    dice, targets = canvas.dice, list(request.targets)
    if level == 1:
        # Not done; now and then it is done to something else instead.
        others = sorted(canvas.things.keys() - set(targets) - canvas.touched)
        if not targets or not others or dice.random() < 0.7 or len(canvas.things) < 2:
            return
        targets, level = [dice.choice(others)], 5
    if len(targets) > 1 and level in (2, 3):
        # Of several, some are done rightly: half or more for 3, fewer for 2.
        half = (len(targets) + 1) // 2
        done = half if level == 3 else max(1, half - 1)
        targets, level = dice.sample(targets, min(done, len(targets) - 1)), 5
    match request.kind:
        case "background":
            others = [b for b in BACKGROUNDS if b not in (request.to, canvas.background)]
            canvas.background = (request.to or "") if level >= 4 else dice.choice(others)
        case "add":
            canvas.add_like(request, level)
        case "remove":
            for key in targets:
                canvas.remove(key)
        case "replace":
            if level == 2 and dice.random() < 0.5:
                canvas.remove(targets[0])
            else:
                canvas.replace_like(targets[0], request, level)
        case "recolour":
            for key in targets:
                canvas.change(key, colour=_colour_of_level(canvas, key, request.to or "", level))
        case "resize":
            for key in targets:
                _resize(canvas, key, request.to or "", level)
        case "move":
            cell = _cell_of_level(canvas, PLACES.index(request.to or ""), level)
            if cell is not None:
                canvas.move(targets[0], cell)


def _colour_of_level(canvas: Canvas, key: int, wanted: str, level: int) -> str:
    if level == 5:
        return wanted
    now = canvas.things[key].colour
    if level == 4 and near_colour(wanted) != now:
        return near_colour(wanted)
    far = [c for c in COLOURS if c not in (wanted, near_colour(wanted), now)]
    return canvas.dice.choice(far)


def _resize(canvas: Canvas, key: int, wanted: str, level: int) -> None:
    now = canvas.things[key].size
    if level >= 4:
        canvas.change(key, size=wanted)
    elif {now, wanted} == {"small", "large"} and level in (2, 3):
        canvas.change(key, size="medium")


def _cell_of_level(canvas: Canvas, wanted: int, level: int) -> int | None:
    if level >= 4:
        return wanted if wanted in canvas.free_cells() else None
    touching = level == 3
    options = [
        cell
        for cell in canvas.free_cells()
        if cell != wanted and are_adjacent(cell, wanted) == touching
    ]
    return canvas.dice.choice(options) if options else None


def describe_requests(requests: Sequence[Request]) -> list[dict[str, object]]:
    """Requests as plain data for the truth table."""
    return [{**vars(request), "targets": list(request.targets)} for request in requests]
