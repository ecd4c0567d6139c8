"""Text-to-image prompts about ShapeWorld: what they ask for, and how they put it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from foundry.shapeworld.gen_truth import Absent, Group, Relation, Wanted, checklist
from foundry.shapeworld.scenes import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT,
    HUES,
    SHAPES,
    SIZES,
    near_colour,
)
from foundry.shapeworld.wording import COUNT_WORDS, SIDE_WORDS, plural, with_article

SIDES = ("left", "right", "above", "below")
MOST_ITEMS = 12
_OPENINGS = ("", "A picture of ", "A drawing with ", "An image that shows ")


def random_wanted(dice: Random, *, unseen: bool) -> Wanted:
    """What a prompt asks for: one to three groups, at most six things, and what goes with them."""
    while True:
        wanted = _random_wanted(dice, unseen)
        if len(checklist(wanted)) <= MOST_ITEMS:
            return wanted


def _random_wanted(dice: Random, unseen: bool) -> Wanted:
    shapes = dice.sample(SHAPES, dice.choices((1, 2, 3), (3, 4, 3))[0])
    counts = dice.choice([c for c in _COUNTS[len(shapes)] if sum(c) <= 6])
    groups = tuple(
        Group(
            shape=shape,
            count=count,
            colour=dice.choice(_colours_of(shape, unseen)),
            size=dice.choice(SIZES) if dice.random() < 0.25 else None,
        )
        for shape, count in zip(shapes, counts, strict=True)
    )
    single = [group.shape for group in groups if group.count == 1]
    relations = ()
    if len(single) > 1 and dice.random() < 0.7:
        a, b = dice.sample(single, 2)
        relations = (Relation(shape=a, side=dice.choice(SIDES), other=b),)
    background = dice.choice(BACKGROUNDS) if dice.random() < 0.4 else None
    taken = {c for g in groups for c in (g.colour, near_colour(g.colour))}
    taken |= set(HUES[background] if background else ())
    absent = (_random_absent(dice, groups, taken, unseen),) if dice.random() < 0.35 else ()
    return Wanted(groups=groups, relations=relations, absent=absent, background=background)


_COUNTS = {
    1: [(n,) for n in (1, 1, 2, 3, 4, 5, 6)],
    2: [(a, b) for a in (1, 1, 2, 3, 4) for b in (1, 1, 2, 3)],
    3: [(a, b, c) for a in (1, 1, 2, 3) for b in (1, 1, 2) for c in (1, 1, 2)],
}


def _colours_of(shape: str, unseen: bool) -> list[str]:
    return [c for c in COLOURS if unseen or (shape, c) not in HELD_OUT]


def _random_absent(dice: Random, groups: Sequence[Group], taken: set[str], unseen: bool) -> Absent:
    """What must not be there: nothing that was asked for, or could be taken for it."""
    shapes = [s for s in SHAPES if all(g.shape != s for g in groups)]
    colours = [c for c in COLOURS if c not in taken]
    match dice.randrange(3):
        case 0:
            return Absent(shape=dice.choice(shapes))
        case 1:
            return Absent(colour=dice.choice(colours))
    shape = dice.choice(shapes)
    allowed = [c for c in _colours_of(shape, unseen) if c in colours]
    return Absent(shape=shape, colour=dice.choice(allowed))


def wants_unseen(wanted: Wanted) -> bool:
    """Whether a held-out combination of shape and colour is asked for, or to be left out."""
    return any((one.shape, one.colour) in HELD_OUT for one in (*wanted.groups, *wanted.absent))


def write_prompt(wanted: Wanted, dice: Random) -> str:
    """One or more sentences that ask for just what is wanted."""
    names = [_name_group(group) for group in wanted.groups]
    text = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    opening = dice.choice(_OPENINGS)
    text = opening + text if opening else text[0].upper() + text[1:]
    if wanted.background:
        ground = with_article(f"{wanted.background} background")
        text += dice.choice((f" on {ground}", f", with {ground}"))
    sentences = [text + "."]
    for relation in wanted.relations:
        side = SIDE_WORDS[relation.side]
        sentences.append(f"The {relation.shape} is {side} the {relation.other}.")
    for absent in wanted.absent:
        sentences.append(_write_absent(absent, dice))
    return " ".join(sentences)


def _name_group(group: Group) -> str:
    size = f"{group.size} " if group.size else ""
    if group.count == 1:
        return with_article(f"{size}{group.colour} {group.shape}")
    return f"{COUNT_WORDS[group.count]} {size}{group.colour} {plural(group.shape)}"


def _write_absent(absent: Absent, dice: Random) -> str:
    if absent.shape:
        what = " ".join(word for word in (absent.colour, plural(absent.shape)) if word)
        return dice.choice((f"No {what}.", f"There are no {what}.", f"Without any {what}."))
    return dice.choice((f"Nothing {absent.colour}.", f"There is nothing {absent.colour} in it."))
