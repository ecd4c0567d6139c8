"""A scene while it is edited, and the changes that nobody asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from foundry.shapeworld.edit_truth import Request
from foundry.shapeworld.scenes import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT,
    MOST_THINGS,
    PATTERNS,
    PLACES,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    are_adjacent,
    are_near,
    is_unseen,
    make_scene,
    near_colour,
    random_look,
    size_steps,
    thing_of,
)


class Canvas:
    """A scene that is being changed.

    `touched` are the keys of things that were changed, so that further changes take others. New
    things never stand where something stood in the source: that would be a replacement.
    """

    def __init__(self, source: Scene, dice: Random, *, unseen: bool) -> None:
        self.source = source
        self.background = source.background
        self.things = source.by_key()
        self.dice = dice
        self.unseen = unseen
        self.touched: set[int] = set()

    def scene(self) -> Scene | None:
        """The scene as it is now.

        None where two readings of what happened would be as good, where nothing or too much is
        left, or where a held-out combination came up that must not be seen.
        """
        things = list(self.things.values())
        if not things or len(things) > MOST_THINGS:
            return None
        edited = make_scene(self.background, things)
        unfit = is_ambiguous(self.source, edited) or (not self.unseen and is_unseen(edited))
        return None if unfit else edited

    def free_cells(self) -> list[int]:
        """Cells that are free here and were free in the source."""
        taken = {thing.cell for thing in self.things.values()}
        return [cell for cell in self.source.free_cells() if cell not in taken]

    def new_look(self) -> tuple[str, str]:
        """A shape and a colour."""
        found = random_look(self.dice, unseen=self.unseen)
        return found["shape"], found["colour"]

    def colour_for(self, shape: str, among: Sequence[str] = COLOURS) -> str:
        """A colour that the shape may have."""
        allowed = [c for c in among if self.unseen or (shape, c) not in HELD_OUT]
        return self.dice.choice(allowed or list(among))

    def change(self, key: int, **attributes: str) -> None:
        """Change attributes of a thing in place."""
        self.things[key] = replace(self.things[key], **attributes)
        self.touched.add(key)

    def remove(self, key: int) -> None:
        """Take a thing away."""
        del self.things[key]
        self.touched.add(key)

    def move(self, key: int, cell: int) -> None:
        """Put a thing into another cell."""
        self.things[key] = replace(self.things[key], cell=cell, lean=None)
        self.touched.add(key)

    def add(self, cell: int, look: dict[str, str]) -> None:
        """Put a new thing into a cell."""
        key = max([*self.things, *self.source.by_key()], default=-1) + 1
        self.things[key] = thing_of(look, key=key, cell=cell)
        self.touched.add(key)

    def add_like(self, request: Request, level: int) -> None:
        """Add a thing as asked (level 5), slightly off (4), wrong in one point (3) or more (2)."""
        free = self.free_cells()
        asked = PLACES.index(request.place) if request.place else None
        place_off = level <= 3 and asked is not None and self.dice.random() < 0.3
        cells = [c for c in free if (c != asked if place_off else asked in (None, c))]
        if cells:
            look = self._look_of_level(request, level + place_off, SHAPES)
            self.add(self.dice.choice(cells), look)

    def replace_like(self, key: int, request: Request, level: int) -> None:
        """Put another thing in a thing's place, as asked or off by as much as `level` says."""
        others = [s for s in SHAPES if s != self.things[key].shape]
        self.change(key, **self._look_of_level(request, level, others))

    def _look_of_level(self, request: Request, level: int, shapes: Sequence[str]) -> dict[str, str]:
        look = random_look(self.dice, unseen=self.unseen)
        shape, colour = request.shape or "", request.colour or ""
        if request.size:
            look["size"] = request.size
        if level == 4 and request.size and self.dice.random() < 0.5:
            look["size"] = self.dice.choice([s for s in SIZES if size_steps(s, request.size) == 1])
        elif level == 4:
            colour = near_colour(colour)
        wrong_shape = level == 2 or (level == 3 and self.dice.random() < 0.5)
        if wrong_shape:
            shape = self.dice.choice([s for s in shapes if s != shape])
        if level == 2 or (level == 3 and not wrong_shape):
            colour = self.colour_for(shape, [c for c in COLOURS if not are_near(c, colour)])
        return look | {"shape": shape, "colour": colour}


def is_ambiguous(source: Scene, edited: Scene) -> bool:
    """Whether something that came could be taken for something else that went.

    A thing that was added or moved, and another that was removed or moved away, are of one shape:
    which of them is which, no picture tells.
    """
    before, after = source.by_key(), edited.by_key()
    gone = [t for t in source.things if t.key not in after or after[t.key].cell != t.cell]
    come = [t for t in edited.things if t.key not in before or before[t.key].cell != t.cell]
    return any(a.key != b.key and a.shape == b.shape for a in gone for b in come)


def disturb(canvas: Canvas, significant: int, minor: int) -> None:
    """Make so many changes that nobody asked for, as far as the scene has room."""
    for amount, changes in ((significant, _SIGNIFICANT), (minor, _MINOR)):
        for _ in range(amount):
            for change in canvas.dice.sample(changes, len(changes)):
                if change(canvas):
                    break


def swap_everything(canvas: Canvas, requests: Sequence[Request]) -> None:
    """Make another picture of it: a new background, and other things but for those named."""
    if canvas.background == canvas.source.background:
        _change_background(canvas)
    named = {key for request in requests for key in request.targets}
    for key in [k for k in canvas.source.by_key() if k not in named and k in canvas.things]:
        if canvas.dice.random() < 0.3 and len(canvas.things) > 1:
            canvas.remove(key)
        else:
            shape = canvas.dice.choice([s for s in SHAPES if s != canvas.things[key].shape])
            look = random_look(canvas.dice, unseen=canvas.unseen)
            canvas.change(key, **look | {"shape": shape, "colour": canvas.colour_for(shape)})
    for cell in canvas.free_cells():
        if canvas.dice.random() < 0.3 and len(canvas.things) < MOST_THINGS:
            canvas.add(cell, random_look(canvas.dice, unseen=canvas.unseen))


def _pick(canvas: Canvas) -> Thing | None:
    untouched = [t for t in canvas.things.values() if t.key not in canvas.touched]
    return canvas.dice.choice(untouched) if untouched else None


def _change_background(canvas: Canvas) -> bool:
    if canvas.background != canvas.source.background:
        return False
    others = [b for b in BACKGROUNDS if b != canvas.background]
    canvas.background = canvas.dice.choice(others)
    return True


def _add_something(canvas: Canvas) -> bool:
    free = canvas.free_cells()
    if not free or len(canvas.things) >= MOST_THINGS:
        return False
    canvas.add(canvas.dice.choice(free), random_look(canvas.dice, unseen=canvas.unseen))
    return True


def _remove_something(canvas: Canvas) -> bool:
    thing = _pick(canvas)
    if thing is None or len(canvas.things) < 2:
        return False
    canvas.remove(thing.key)
    return True


def _recolour_far(canvas: Canvas) -> bool:
    thing = _pick(canvas)
    if thing is None:
        return False
    far = [c for c in COLOURS if not are_near(c, thing.colour)]
    canvas.change(thing.key, colour=canvas.colour_for(thing.shape, far))
    return True


def _recolour_near(canvas: Canvas) -> bool:
    thing = _pick(canvas)
    if thing is None:
        return False
    canvas.change(thing.key, colour=near_colour(thing.colour))
    return True


def _reshape(canvas: Canvas) -> bool:
    thing = _pick(canvas)
    if thing is None:
        return False
    others = [shape for shape in SHAPES if shape != thing.shape]
    canvas.change(thing.key, shape=canvas.dice.choice(others))
    return True


def _move(canvas: Canvas, *, far: bool) -> bool:
    thing = _pick(canvas)
    if thing is None:
        return False
    cells = [c for c in canvas.free_cells() if are_adjacent(c, thing.cell) != far]
    if not cells:
        return False
    canvas.move(thing.key, canvas.dice.choice(cells))
    return True


def _move_far(canvas: Canvas) -> bool:
    return _move(canvas, far=True)


def _move_near(canvas: Canvas) -> bool:
    return _move(canvas, far=False)


def _resize(canvas: Canvas, *, steps: int) -> bool:
    thing = _pick(canvas)
    if thing is None:
        return False
    at = SIZES.index(thing.size)
    sizes = [s for i, s in enumerate(SIZES) if abs(i - at) == steps]
    if not sizes:
        return False
    canvas.change(thing.key, size=canvas.dice.choice(sizes))
    return True


def _resize_far(canvas: Canvas) -> bool:
    return _resize(canvas, steps=2)


def _resize_near(canvas: Canvas) -> bool:
    return _resize(canvas, steps=1)


def _repattern(canvas: Canvas) -> bool:
    thing = _pick(canvas)
    if thing is None:
        return False
    canvas.change(
        thing.key, pattern=canvas.dice.choice([p for p in PATTERNS if p != thing.pattern])
    )
    return True


_SIGNIFICANT: tuple[Callable[[Canvas], bool], ...] = (
    _add_something,
    _remove_something,
    _recolour_far,
    _reshape,
    _move_far,
    _resize_far,
    _change_background,
)
_MINOR: tuple[Callable[[Canvas], bool], ...] = (
    _recolour_near,
    _move_near,
    _resize_near,
    _repattern,
)
