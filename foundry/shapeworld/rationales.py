"""What a judge that sees everything would say: reasoning before a score, evidence for a verdict.

Short, concrete and about the pictures alone. A rationale never says more than its score rests on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import starmap

from foundry.shapeworld.differences import Difference, is_another_scene
from foundry.shapeworld.edit_truth import Request, added_things, misses, request_levels, unintended
from foundry.shapeworld.edits import Edit
from foundry.shapeworld.gen_truth import Absent, Group, Item, Relation
from foundry.shapeworld.scenes import COLOURS, PLACES, Scene, Thing, are_near
from foundry.shapeworld.wording import (
    COUNT_WORDS,
    SIDE_WORDS,
    name_by_place,
    name_new,
    place_phrase,
    plural,
    with_article,
)

_CHANGED = {
    "colour": "changed its colour",
    "size": "changed its size",
    "texture": "changed its pattern",
    "position": "moved",
    "shape": "became another shape",
    "background": "changed",
}
_HOW = {
    5: "as asked",
    4: "very close to what was asked",
    3: "only partly as asked",
    2: "hardly what was asked",
    1: "not as asked",
}
_ROWS = ("top", "middle", "bottom")
_COLUMNS = ("left", "centre", "right")
_HOW_MANY = {5: "as asked", 4: "nearly", 3: "only partly", 2: "hardly", 1: "not at all"}


def explain_execution(edit: Edit) -> str:
    """A sentence a request: what should be, what is, and how near that comes."""
    return " ".join(f"{what}: {how}." for what, how in _outcomes(edit))


def tell_outcomes(edit: Edit) -> str:
    """A sentence a request: what should be and what is, without how near that comes in all."""
    return " ".join(f"{what}." for what, _ in _outcomes(edit))


def _outcomes(edit: Edit) -> list[tuple[str, str]]:
    added = added_things(edit.source, edit.edited, edit.requests)
    return list(starmap(partial(_came_of, edit), zip(edit.requests, added, strict=True)))


def _came_of(edit: Edit, request: Request, added: Thing | None) -> tuple[str, str]:
    """What should be and what is, and how near that comes."""
    source, edited = edit.source, edit.edited
    levels = request_levels(source, edited, request, added)
    how = _HOW[levels[0]]
    if request.kind == "background":
        still = "still " if edited.background == source.background else ""
        now = f"it is {still}{edited.background}"
        return f"The background should be {request.to}; {now}", how
    if request.kind == "add":
        now = f"{_new(added, request)} was{_misses(added, request)}" if added else "nothing was"
        return f"{_capital(_asked(request))} should be added; {now}", how
    if request.missing:
        return f"There is no {request.missing}", how
    before, after = source.by_key(), edited.by_key()
    olds = [before[key] for key in request.targets]
    now = [_now(request, old, after.get(old.key)) for old in olds]
    if len(olds) == 1:
        subject = f"The {name_by_place(olds[0])}"
        return f"{subject} should {_goal(request)}; it {now[0]}", how
    counts = {how: levels.count(level) for level, how in _HOW_MANY.items()}
    parts = ", ".join(f"{COUNT_WORDS[n]} {how}" for how, n in counts.items() if n)
    each = ", ".join(f"one {what}" for what in now)
    return f"The {plural(olds[0].shape)} should {_goal(request)}; {each}", parts


def _goal(request: Request) -> str:
    match request.kind:
        case "remove":
            return "be gone"
        case "replace":
            return f"become {_asked(request)}"
        case "move":
            return f"be {place_phrase(request.to or '')}"
    return f"be {request.to}"


def _now(request: Request, old: Thing, new: Thing | None) -> str:
    """What became of a thing, as far as the request is about it."""
    if new is None:
        return "is gone"
    match request.kind:
        case "remove":
            return "is still there"
        case "replace" if (new.shape, new.colour) == (old.shape, old.colour):
            return "is still there"
        case "replace":
            return f"became {_new(new, request)}{_misses(new, request)}"
        case "move":
            still = "still " if new.cell == old.cell else ""
            return f"is {still}{place_phrase(PLACES[new.cell])}"
    attribute = "colour" if request.kind == "recolour" else "size"
    before, now = getattr(old, attribute), getattr(new, attribute)
    return f"is still {now}" if before == now else f"is {now}"


def _new(thing: Thing, request: Request) -> str:
    """A new thing, as far as a request says what it should be."""
    size, place = request.size and thing.size, request.place and PLACES[thing.cell]
    return name_new(thing.shape, thing.colour, size, place)


def _misses(thing: Thing, request: Request) -> str:
    wrong, near = misses(thing, request)
    parts = [f"{attribute} wrong" for attribute in wrong]
    parts += [f"{attribute} near" for attribute in near]
    return ", " + ", ".join(parts) if parts else ""


def _asked(request: Request) -> str:
    return name_new(request.shape, request.colour, request.size, request.place)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def explain_consistency(edit: Edit) -> str:
    """The first unintended change, and how many there are of each sort."""
    extra = unintended(edit.source, edit.edited, edit.requests)
    if not extra or is_another_scene(edit.source, extra):
        return tell_unasked(edit)
    first = min(extra, key=lambda d: not d.significant)
    significant = sum(d.significant for d in extra)
    minor = len(extra) - significant
    counts = f"{_count(significant)} significant and {_count(minor)} minor"
    return f"{_what_happened(first)} unasked. In all {counts} unasked changes."


def tell_unasked(edit: Edit) -> str:
    """A sentence an unintended change, and nothing of how grave that is."""
    extra = unintended(edit.source, edit.edited, edit.requests)
    if not extra:
        return "Nothing else changed."
    if is_another_scene(edit.source, extra):
        return "It is almost entirely another picture."
    return " ".join(f"{_what_happened(one)} unasked." for one in extra)


def _count(number: int) -> str:
    return COUNT_WORDS[number] if number < len(COUNT_WORDS) else str(number)


def _what_happened(difference: Difference) -> str:
    if difference.category == "presence":
        what = "appeared" if difference.before == "absent" else "is gone"
        return f"The {difference.subject} {what}"
    return f"The {difference.subject} {_CHANGED[difference.category]}"


def explain_picture(items: Sequence[Item], verdicts: Sequence[str], score: int) -> str:
    """The worst point, and how many requirements are not wholly met."""
    if score == 5:
        return "Everything that was asked for is there and right."
    if score == 1:
        return "None of the things that were asked for is there."
    off = [(item, v) for item, v in zip(items, verdicts, strict=True) if v != "yes"]
    item, verdict = min(off, key=lambda pair: (pair[1] != "no", not pair[0].critical))
    worst = _off(item, verdict)
    if item is items[0] and verdict == "no":
        worst = f"The main subject is missing: {worst}"
    elif score == 2:
        worst = f"Most of the things are missing or wrong: {worst}"
    many = f"{_count(len(off))} requirements are" if len(off) > 1 else "one requirement is"
    return f"{_capital(worst)}. In all {many} not met."


def _off(item: Item, verdict: str) -> str:
    about = item.about
    partly = "partly " if verdict == "partly" else ""
    if isinstance(about, Group):
        one = about.count == 1
        noun = about.shape if one else plural(about.shape)
        match item.kind:
            case "subject":
                return f"there is no {about.shape}"
            case "count":
                return f"the number of {plural(about.shape)} is {partly}wrong"
        return f"the {item.attribute} of the {noun} is {partly}wrong"
    if isinstance(about, Relation):
        return f"the {about.shape} is {partly}in the wrong place"
    if isinstance(about, Absent):
        nearly = "nearly " if partly else ""
        if about.shape is None:
            return f"there is something {nearly}{about.colour}"
        colour = f"{nearly}{about.colour} " if about.colour else ""
        return f"there is {with_article(colour + about.shape)}"
    return f"the background is not {about}"


def evidence(item: Item, scene: Scene) -> str:
    """What is asked and what in the picture decides it, at most 160 characters."""
    about = item.about
    if isinstance(about, str):
        return f"the background to be {about}; it is {scene.background}"
    if isinstance(about, Absent):
        return _forbidden(about, scene)
    if isinstance(about, Relation):
        where = ", ".join(_along(about, shape, scene) for shape in (about.shape, about.other))
        return f"{about.shape} to be {SIDE_WORDS[about.side]} {about.other}; {where}"
    noun = about.shape if about.count == 1 else plural(about.shape)
    things = [thing for thing in scene.things if thing.shape == about.shape]
    found = _counted(about.shape, len(things))
    if item.kind == "subject":
        return f"{noun} to be there; {found}"
    if item.kind == "count":
        return f"{_counted(about.shape, about.count)} to be there; {found}"
    attribute = item.attribute or ""
    wanted = getattr(about, attribute)
    have = ", ".join(_against(wanted, getattr(thing, attribute)) for thing in things)
    return f"{noun} to be {wanted}; " + (f"{noun} {have}" if things else found)


def _against(wanted: str, found: str) -> str:
    """What was found, with a word on how it compares unless it is what was wanted."""
    if found == wanted:
        return found
    return f"{found} near" if found in COLOURS and are_near(found, wanted) else f"{found} wrong"


def _counted(shape: str, count: int) -> str:
    return f"{COUNT_WORDS[count]} {shape if count == 1 else plural(shape)}"


def _along(relation: Relation, shape: str, scene: Scene) -> str:
    """Rows or columns of the things of a shape, whichever the relation is about."""
    across = relation.side in ("left", "right")
    cells = [thing.cell for thing in scene.things if thing.shape == shape]
    found = sorted({cell % 3 if across else cell // 3 for cell in cells})
    names = _COLUMNS if across else _ROWS
    return f"{shape} {' and '.join(names[i] for i in found)}" if found else f"no {shape}"


def _forbidden(absent: Absent, scene: Scene) -> str:
    things = [t for t in scene.things if absent.shape in (None, t.shape)]
    colours = sorted({thing.colour for thing in things})
    found = ", ".join(_beside_forbidden(absent.colour, colour) for colour in colours)
    if absent.shape is None:
        return f"nothing {absent.colour} to be there; there is {found}"
    name = " ".join(word for word in (absent.colour, absent.shape) if word)
    there = f"{absent.shape} {found}" if found else f"no {absent.shape}"
    return f"no {name} to be there; {there}"


def _beside_forbidden(forbidden: str | None, found: str) -> str:
    if forbidden is None or found == forbidden:
        return f"{found} wrong"
    return f"{found} near" if are_near(found, forbidden) else found
