"""What a ShapeWorld picture shows: a background and one to eight things on a grid of 3 x 3 cells.

A scene is the whole truth about its picture. Drawing adds only nuisance, which no rule looks at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross")
SIZES = ("small", "medium", "large")
PATTERNS = ("plain", "striped", "dotted")
# Of each pair the two are near: a viewer may take one for the other at a glance.
NEAR_COLOURS = (
    ("red", "crimson"),
    ("orange", "gold"),
    ("green", "lime"),
    ("blue", "navy"),
    ("purple", "violet"),
    ("grey", "black"),
)
COLOURS = tuple(colour for pair in NEAR_COLOURS for colour in pair)
BACKGROUNDS = ("white", "cream", "sky", "mint", "lilac", "silver")
CELLS = tuple(range(9))
PLACES = (
    "top left",
    "top middle",
    "top right",
    "middle left",
    "centre",
    "middle right",
    "bottom left",
    "bottom middle",
    "bottom right",
)
MOST_THINGS = 8
# Colours that a viewer might see in a background.
HUES: dict[str, tuple[str, ...]] = {
    "white": (),
    "cream": ("orange", "gold"),
    "sky": ("blue", "navy"),
    "mint": ("green", "lime"),
    "lilac": ("purple", "violet"),
    "silver": ("grey", "black"),
}
# Shape and colour that never come together where only seen combinations are drawn.
HELD_OUT = frozenset(
    {
        ("circle", "gold"),
        ("square", "violet"),
        ("triangle", "blue"),
        ("diamond", "red"),
        ("star", "green"),
        ("cross", "black"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One thing in a scene.

    `key` tells which thing it is, in a source scene and in its edits alike. `cell` is 0-8, row by
    row from the top left. `lean` is the cell beside it that it leans towards, behind what stands
    there, so that it is partly hidden; None for one that stands in the middle of its cell.
    """

    key: int
    shape: str
    colour: str
    size: str
    pattern: str
    cell: int
    lean: int | None = None


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A background and its things, at most one a cell, in order of their cells."""

    background: str
    things: tuple[Thing, ...]

    def by_key(self) -> dict[int, Thing]:
        """The things by key."""
        return {thing.key: thing for thing in self.things}

    def free_cells(self) -> list[int]:
        """Cells where nothing stands."""
        taken = {thing.cell for thing in self.things}
        return [cell for cell in CELLS if cell not in taken]


def make_scene(background: str, things: list[Thing]) -> Scene:
    """A scene of these things.

    Raises ValueError for two in one cell or with one key, or more than `MOST_THINGS`.
    """
    if len({t.cell for t in things}) < len(things) or len({t.key for t in things}) < len(things):
        raise ValueError("two things share a cell or a key")
    if len(things) > MOST_THINGS:
        raise ValueError(f"{len(things)} things, at most {MOST_THINGS}")
    return Scene(background=background, things=tuple(sorted(things, key=lambda t: t.cell)))


def near_colour(colour: str) -> str:
    """The colour that is easily taken for this one."""
    for a, b in NEAR_COLOURS:
        if colour in (a, b):
            return b if colour == a else a
    raise ValueError(f"no colour '{colour}'; there are {', '.join(COLOURS)}")


def are_near(a: str, b: str) -> bool:
    """Whether two colours are the same or easily taken for each other."""
    return a == b or near_colour(a) == b


def are_adjacent(a: int, b: int) -> bool:
    """Whether two cells touch, corners included."""
    return a != b and abs(a // 3 - b // 3) <= 1 and abs(a % 3 - b % 3) <= 1


def size_steps(a: str, b: str) -> int:
    """Steps between two sizes: 0, 1 or 2."""
    return abs(SIZES.index(a) - SIZES.index(b))


def is_unseen(scene: Scene) -> bool:
    """Whether a held-out combination of shape and colour is in the scene."""
    return any((thing.shape, thing.colour) in HELD_OUT for thing in scene.things)


def random_look(dice: Random, *, unseen: bool) -> dict[str, str]:
    """Shape, colour, size and pattern of a thing; held-out combinations only with `unseen`."""
    while True:
        shape, colour = dice.choice(SHAPES), dice.choice(COLOURS)
        if unseen or (shape, colour) not in HELD_OUT:
            break
    return {
        "shape": shape,
        "colour": colour,
        "size": dice.choice(SIZES),
        "pattern": dice.choices(PATTERNS, (4, 1, 1))[0],
    }


def thing_of(look: dict[str, str], *, key: int, cell: int) -> Thing:
    """A thing of this shape, colour, size and pattern."""
    return Thing(
        key=key,
        cell=cell,
        shape=look["shape"],
        colour=look["colour"],
        size=look["size"],
        pattern=look["pattern"],
    )


def random_scene(dice: Random, *, unseen: bool = False, first_key: int = 0) -> Scene:
    """A scene of one to eight things, some of them alike; keys count up from `first_key`."""
    cells = dice.sample(CELLS, dice.randint(1, MOST_THINGS))
    things: list[Thing] = []
    for i, cell in enumerate(cells):
        look = random_look(dice, unseen=unseen)
        if things and dice.random() < 0.2:
            like = dice.choice(things)
            look |= {"shape": like.shape, "colour": like.colour}
        things.append(thing_of(look, key=first_key + i, cell=cell))
    return make_scene(dice.choice(BACKGROUNDS), hide_some(things, dice))


def hide_some(things: list[Thing], dice: Random) -> list[Thing]:
    """Let some things lean behind a larger neighbour to their side, above or below."""
    by_cell = {thing.cell: thing for thing in things}
    leaning: dict[int, int] = {}
    for thing in things:
        beside = [
            cell
            for cell in CELLS
            if are_adjacent(cell, thing.cell)
            and (cell // 3 == thing.cell // 3 or cell % 3 == thing.cell % 3)
            and cell in by_cell
            and cell not in leaning
            and by_cell[cell].size != "small"
        ]
        behind_me = any(lean == thing.cell for lean in leaning.values())
        if beside and thing.size != "small" and not behind_me and dice.random() < 0.15:
            leaning[thing.cell] = dice.choice(beside)
    return [replace(thing, lean=leaning.get(thing.cell)) for thing in things]
