"""Scenes for a prompt at every level of quality: right, one detail off, several off, unrelated.

Nothing here is a score: each scene is scored afterwards, by the rules of `gen_truth`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from foundry.shapeworld.gen_truth import Group, Relation, Wanted, checklist, gen_score, verdict
from foundry.shapeworld.scenes import (
    BACKGROUNDS,
    CELLS,
    COLOURS,
    HUES,
    MOST_THINGS,
    SHAPES,
    SIZES,
    Scene,
    are_near,
    hide_some,
    is_unseen,
    make_scene,
    near_colour,
    random_look,
    random_scene,
    thing_of,
)

TRIES = 60
# How many changes of the wish to try for each score; None for a scene without any regard to it.
_CHANGES = {5: (0,), 4: (1, 2), 3: (2, 3, 4), 2: (3, 4, 5), 1: (None,)}


@dataclass
class _Wish:
    """A wish as a bad generator hears it: groups may be changed, dropped or broken."""

    groups: list[Group]
    relations: list[Relation]
    background: str
    extra: list[dict[str, str]]


def picture_scene(dice: Random, wanted: Wanted, *, unseen: bool, score: int) -> Scene:
    """A scene for a prompt, aimed at a score (1-5); the nearest of `TRIES` where none meets it."""
    items = checklist(wanted)
    best, best_miss = None, 99
    for _ in range(TRIES):
        scene = _try(dice, wanted, unseen, dice.choice(_CHANGES[score]))
        if scene is None or _is_unfit(scene, wanted, unseen):
            continue
        miss = abs(gen_score(items, [verdict(item, scene) for item in items]) - score)
        if miss < best_miss:
            best, best_miss = scene, miss
        if miss == 0:
            break
    return best or random_scene(dice, unseen=unseen)


def _is_unfit(scene: Scene, wanted: Wanted, unseen: bool) -> bool:
    """Whether a held-out combination came up, or a ground of a colour that must not be there."""
    hues = HUES[scene.background]
    return (is_unseen(scene) and not unseen) or any(a.colour in hues for a in wanted.absent)


def _try(dice: Random, wanted: Wanted, unseen: bool, changes: int | None) -> Scene | None:
    if changes is None:
        return random_scene(dice, unseen=unseen)
    wish = _Wish(
        groups=list(wanted.groups),
        relations=list(wanted.relations),
        background=wanted.background or dice.choice(BACKGROUNDS),
        extra=[],
    )
    for _ in range(changes):
        dice.choice(_SPOILERS)(wish, wanted, dice)
    _add_bystanders(wish, wanted, dice, unseen)
    return _place(wish, dice)


def _add_bystanders(wish: _Wish, wanted: Wanted, dice: Random, unseen: bool) -> None:
    """Things that nobody asked for and nobody minds, in some pictures."""
    shapes = {g.shape for g in wanted.groups} | {a.shape for a in wanted.absent}
    colours = {c for a in wanted.absent if a.colour for c in (a.colour, near_colour(a.colour))}
    for _ in range(dice.choice((0, 0, 1, 2))):
        look = random_look(dice, unseen=unseen)
        if look["shape"] not in shapes and look["colour"] not in colours:
            wish.extra.append(look)


def _place(wish: _Wish, dice: Random) -> Scene | None:
    looks = [
        {
            "shape": group.shape,
            "colour": group.colour,
            "size": group.size or dice.choice(SIZES),
            "pattern": "plain",
        }
        for group in wish.groups
        for _ in range(group.count)
    ] + wish.extra
    if not looks or len(looks) > MOST_THINGS:
        return None
    for _ in range(30):
        cells = dice.sample(CELLS, len(looks))
        things = [
            thing_of(look, key=i, cell=cell)
            for i, (cell, look) in enumerate(zip(cells, looks, strict=True))
        ]
        scene = make_scene(wish.background, hide_some(things, dice))
        if all(_relation_holds(relation, scene) for relation in wish.relations):
            return scene
    return None


def _relation_holds(relation: Relation, scene: Scene) -> bool:
    shapes = {thing.shape for thing in scene.things}
    item = checklist(Wanted(groups=(), relations=(relation,)))[0]
    return not {relation.shape, relation.other} <= shapes or verdict(item, scene) == "yes"


def _spoil_count(wish: _Wish, wanted: Wanted, dice: Random) -> None:
    i = dice.randrange(len(wish.groups))
    group = wish.groups[i]
    count = max(1, group.count + dice.choice((-2, -1, 1, 2)))
    wish.groups[i] = replace(group, count=min(count, 6))


def _spoil_colour(wish: _Wish, wanted: Wanted, dice: Random) -> None:
    i = dice.randrange(len(wish.groups))
    group = wish.groups[i]
    far = [c for c in COLOURS if not are_near(c, group.colour)]
    colour = near_colour(group.colour) if dice.random() < 0.4 else dice.choice(far)
    if group.count > 1 and dice.random() < 0.4:
        # One of several is of another colour: the colour is partly right.
        wish.groups[i] = replace(group, count=group.count - 1)
        wish.extra.append(
            {"shape": group.shape, "colour": colour, "size": "medium", "pattern": "plain"}
        )
    else:
        wish.groups[i] = replace(group, colour=colour)


def _spoil_size(wish: _Wish, wanted: Wanted, dice: Random) -> None:
    i = dice.randrange(len(wish.groups))
    group = wish.groups[i]
    if group.size:
        sizes = [s for s in SIZES if s != group.size]
        wish.groups[i] = replace(group, size=dice.choice(sizes))


def _spoil_shape(wish: _Wish, wanted: Wanted, dice: Random) -> None:
    i = dice.randrange(len(wish.groups))
    shapes = [s for s in SHAPES if all(g.shape != s for g in (*wanted.groups, *wish.groups))]
    if shapes:
        wish.groups[i] = replace(wish.groups[i], shape=dice.choice(shapes))


def _drop_group(wish: _Wish, wanted: Wanted, dice: Random) -> None:
    if len(wish.groups) > 1:
        wish.groups.pop(dice.randrange(len(wish.groups)))


def _spoil_relation(wish: _Wish, wanted: Wanted, dice: Random) -> None:
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}
    wish.relations = [replace(r, side=opposite[r.side]) for r in wish.relations]


def _spoil_background(wish: _Wish, wanted: Wanted, dice: Random) -> None:
    if wanted.background:
        wish.background = dice.choice([b for b in BACKGROUNDS if b != wanted.background])


def _add_forbidden(wish: _Wish, wanted: Wanted, dice: Random) -> None:
    for absent in wanted.absent:
        shapes = [s for s in SHAPES if all(g.shape != s for g in wanted.groups)]
        wish.extra.append(
            {
                "shape": absent.shape or dice.choice(shapes),
                "colour": absent.colour or dice.choice(COLOURS),
                "size": dice.choice(SIZES),
                "pattern": "plain",
            }
        )


_SPOILERS: Sequence[Callable[[_Wish, Wanted, Random], None]] = (
    _spoil_count,
    _spoil_colour,
    _spoil_colour,
    _spoil_size,
    _spoil_shape,
    _drop_group,
    _spoil_relation,
    _spoil_background,
    _add_forbidden,
)
