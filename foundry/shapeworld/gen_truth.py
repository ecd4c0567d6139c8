"""The truth about a picture made from a prompt: its checklist, the verdicts, and the score.

The prompt is given as what it asks for (`Wanted`); the checklist follows from that alone, the
verdicts from checklist and scene, the score from the verdicts. The rules stand in
docs/shapeworld.md. Source of the rubric: FIRM (arXiv:2603.12247).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foundry.shapeworld.scenes import Scene, Thing, are_near
from foundry.shapeworld.wording import COUNT_WORDS, plural, with_article


@dataclass(frozen=True, kw_only=True)
class Group:
    """So many things of one shape. Within a prompt each shape has at most one group."""

    shape: str
    count: int
    colour: str
    size: str | None = None


@dataclass(frozen=True, kw_only=True)
class Relation:
    """The thing of one shape is `left`, `right`, `above` or `below` that of another."""

    shape: str
    side: str
    other: str


@dataclass(frozen=True, kw_only=True)
class Absent:
    """What must not be there: a shape, a colour, or things of both."""

    shape: str | None = None
    colour: str | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a prompt asks for, the main subject first."""

    groups: tuple[Group, ...]
    relations: tuple[Relation, ...] = ()
    absent: tuple[Absent, ...] = ()
    background: str | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """One checklist item.

    `about` is what it asks of the scene: a Group (subject, count, attribute), a Relation, an
    Absent, or the name of a background; `attribute` is colour or size for an attribute item.
    """

    kind: str
    question: str
    critical: bool
    about: Group | Relation | Absent | str
    attribute: str | None = None


def checklist(wanted: Wanted) -> list[Item]:
    """What the picture must show: 3 to 12 items, subjects first.

    Critical are the subjects and their colours: with another thing in its place, the prompt fails.
    """
    items = [_subject_item(group) for group in wanted.groups]
    for group in wanted.groups:
        items += [_count_item(group), _attribute_item(group, "colour")]
        if group.size:
            items.append(_attribute_item(group, "size"))
    items += [_relation_item(relation) for relation in wanted.relations]
    if wanted.background:
        question = f"Is the background {wanted.background}?"
        items.append(
            Item(kind="composition", question=question, critical=False, about=wanted.background)
        )
    return items + [_absent_item(absent) for absent in wanted.absent]


def _subject_item(group: Group) -> Item:
    one = group.count == 1
    words = f"Is there {with_article(group.shape)}?" if one else f"Are there {plural(group.shape)}?"
    return Item(kind="subject", question=words, critical=True, about=group)


def _count_item(group: Group) -> Item:
    noun = group.shape if group.count == 1 else plural(group.shape)
    verb = "Is" if group.count == 1 else "Are"
    question = f"{verb} there exactly {COUNT_WORDS[group.count]} {noun}?"
    return Item(kind="count", question=question, critical=False, about=group)


def _attribute_item(group: Group, attribute: str) -> Item:
    noun = f"Is the {group.shape}" if group.count == 1 else f"Are the {plural(group.shape)}"
    return Item(
        kind="attribute",
        question=f"{noun} {getattr(group, attribute)}?",
        critical=attribute == "colour",
        about=group,
        attribute=attribute,
    )


def _relation_item(relation: Relation) -> Item:
    side = f"{relation.side} of" if relation.side in ("left", "right") else relation.side
    question = f"Is the {relation.shape} {side} the {relation.other}?"
    return Item(kind="relation", question=question, critical=False, about=relation)


def _absent_item(absent: Absent) -> Item:
    if absent.shape and absent.colour:
        what = f"of {absent.colour} {plural(absent.shape)}"
    else:
        what = f"of {plural(absent.shape)}" if absent.shape else f"of anything {absent.colour}"
    question = f"Is the picture free {what}?"
    return Item(kind="negative", question=question, critical=False, about=absent)


def verdict(item: Item, scene: Scene) -> str:
    """Whether the scene meets an item: yes, partly or no.

    Never `unclear`: a thing is hidden in part at most, so a picture always tells.
    """
    about = item.about
    if isinstance(about, str):
        return _yes(scene.background == about)
    if isinstance(about, Absent):
        return _absent_verdict(about, scene)
    if isinstance(about, Relation):
        return _relation_verdict(about, scene)
    things = [thing for thing in scene.things if thing.shape == about.shape]
    if item.kind == "subject":
        return _yes(bool(things))
    if item.kind == "count":
        off = abs(len(things) - about.count)
        return "yes" if off == 0 else "partly" if off == 1 and things else "no"
    return _attribute_verdict(things, item.attribute or "", about)


def _yes(met: bool) -> str:
    return "yes" if met else "no"


def _absent_verdict(absent: Absent, scene: Scene) -> str:
    """yes: no such thing is there; partly: only one of a near colour is; no: one is there."""
    colours = [t.colour for t in scene.things if absent.shape in (None, t.shape)]
    if absent.colour is None:
        return _yes(not colours)
    if absent.colour in colours:
        return "no"
    return "partly" if any(are_near(c, absent.colour) for c in colours) else "yes"


def _attribute_verdict(things: list[Thing], attribute: str, group: Group) -> str:
    """yes: all have it; no: half or more plainly do not, or none is there; partly: all else.

    A near colour is not as asked, but not plainly wrong either.
    """
    wanted = getattr(group, attribute)
    have = [getattr(thing, attribute) for thing in things]
    if have and all(value == wanted for value in have):
        return "yes"
    close = are_near if attribute == "colour" else str.__eq__
    wrong = sum(not close(value, wanted) for value in have)
    return "no" if 2 * wrong >= len(have) else "partly"


def _relation_verdict(relation: Relation, scene: Scene) -> str:
    """yes: every such thing is on that side of every other; partly: some are; no: none."""
    pairs = [
        _is_beside(a.cell, relation.side, b.cell)
        for a in scene.things
        if a.shape == relation.shape
        for b in scene.things
        if b.shape == relation.other
    ]
    if not any(pairs):
        return "no"
    return "yes" if all(pairs) else "partly"


def _is_beside(cell: int, side: str, other: int) -> bool:
    columns, rows = cell % 3 - other % 3, cell // 3 - other // 3
    return {"left": columns < 0, "right": columns > 0, "above": rows < 0, "below": rows > 0}[side]


def gen_score(items: Sequence[Item], verdicts: Sequence[str]) -> int:
    """How well the picture follows the prompt, 1-5.

    1: no subject is there. 2: the main subject is missing, or more than half of the subjects are
    missing, or wrong in colour and in number. 5: every verdict is yes. 4: no critical item is a
    no, and one or two items are not wholly met. 3: all else.
    """
    found = dict(zip(items, verdicts, strict=True))
    subjects = [item for item in items if item.kind == "subject"]
    missing = sum(found[item] == "no" for item in subjects)
    if missing == len(subjects):
        return 1
    bad = sum(_is_bad(item, found) for item in subjects)
    if found[subjects[0]] == "no" or 2 * bad > len(subjects):
        return 2
    off = sum(v != "yes" for v in verdicts)
    if off == 0:
        return 5
    unmet = any(item.critical and v == "no" for item, v in found.items())
    return 4 if off <= 2 and not unmet else 3


def _is_bad(subject: Item, found: dict[Item, str]) -> bool:
    """Whether a subject is missing, or is there in the wrong colour and number."""
    about = [(i, v) for i, v in found.items() if i.about == subject.about]
    colour = [v for i, v in about if i.attribute == "colour"]
    count = [v for i, v in about if i.kind == "count"]
    return found[subject] == "no" or (colour == ["no"] and count != ["yes"])
