"""What a judge that sees everything would say: reasoning before a score, evidence for a verdict.

Short, concrete and about the pictures alone. A rationale never says more than its score rests on.
"""

from __future__ import annotations

from collections.abc import Sequence

from foundry.shapeworld.differences import Difference, is_another_scene
from foundry.shapeworld.edit_truth import Request, added_for, request_levels, unintended
from foundry.shapeworld.edits import Edit
from foundry.shapeworld.gen_truth import Absent, Group, Item, Relation
from foundry.shapeworld.scenes import PLACES, Scene, Thing
from foundry.shapeworld.wording import COUNT_WORDS, name_thing, place_phrase, plural, with_article

_CHANGED = {
    "colour": "changed its colour",
    "size": "changed its size",
    "texture": "changed its pattern",
    "position": "moved",
    "shape": "became another shape",
    "background": "changed",
}
_HOW_MANY = {5: "as asked", 4: "nearly", 3: "only partly", 2: "hardly", 1: "not at all"}


def explain_execution(edit: Edit) -> str:
    """A sentence a request: what came of it."""
    claimed: set[int] = set()
    return " ".join(_came_of(edit, request, claimed) for request in edit.requests)


def _came_of(edit: Edit, request: Request, claimed: set[int]) -> str:
    source, edited = edit.source, edit.edited
    added = added_for(source, edited, request, claimed) if request.kind == "add" else None
    levels = request_levels(source, edited, request, claimed)
    level = levels[0]
    if request.kind == "background":
        now = f"The background is {edited.background}"
        return f"The background is still {source.background}." if level == 1 else _is(now, level)
    if request.kind == "add":
        if added is None:
            return "Nothing was added."
        return _is(f"{_capital(_new(added, request))} was added", level)
    old = source.by_key()[request.targets[0]]
    if len(levels) > 1:
        counts = {how: levels.count(level) for level, how in _HOW_MANY.items()}
        parts = ", ".join(f"{COUNT_WORDS[n]} {how}" for how, n in counts.items() if n)
        return f"Of the {COUNT_WORDS[len(levels)]} {plural(old.shape)}: {parts}."
    subject = f"The {name_thing(old, source)}"
    return _of_target(subject, request, old, edited.by_key().get(old.key), level)


def _of_target(subject: str, request: Request, old: Thing, new: Thing | None, level: int) -> str:
    if new is None:
        return _is(f"{subject} is gone", level)
    match request.kind:
        case "remove":
            return f"{subject} is still there."
        case "replace" if level == 1:
            return f"{subject} is still there."
        case "replace":
            return _is(f"{subject} became {_new(new, request)}", level)
        case "move" if new.cell == old.cell:
            return f"{subject} has not moved."
        case "move":
            return _is(f"{subject} is now {place_phrase(PLACES[new.cell])}", level)
    attribute = "colour" if request.kind == "recolour" else "size"
    before, now = getattr(old, attribute), getattr(new, attribute)
    return f"{subject} is still {now}." if before == now else _is(f"{subject} is {now}", level)


def _new(thing: Thing, request: Request) -> str:
    size = f"{thing.size} " if request.size else ""
    place = f" {place_phrase(PLACES[thing.cell])}" if request.place else ""
    return with_article(f"{size}{thing.colour} {thing.shape}") + place


def _is(what: str, level: int) -> str:
    how = {
        5: ", as asked",
        4: ", very close to what was asked",
        3: ", only partly as asked",
        2: ", hardly what was asked",
        1: ", not as asked",
    }
    return f"{what}{how[level]}."


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def explain_consistency(edit: Edit) -> str:
    """The first unintended change, and how many there are of each sort."""
    extra = unintended(edit.source, edit.edited, edit.requests)
    if not extra:
        return "Nothing else changed."
    if is_another_scene(edit.source, extra):
        return "It is almost entirely another picture."
    first = min(extra, key=lambda d: not d.significant)
    significant = sum(d.significant for d in extra)
    minor = len(extra) - significant
    counts = f"{_count(significant)} significant and {_count(minor)} minor"
    return f"{_what_happened(first)} unasked. In all {counts} unasked changes."


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
    """What in the picture decides an item, at most 160 characters."""
    about = item.about
    if isinstance(about, str):
        return f"{scene.background} background"
    if isinstance(about, Absent):
        return _forbidden(about, scene)
    if isinstance(about, Relation):
        sides = (_places(about.shape, scene), _places(about.other, scene))
        return ", ".join(sides)
    things = [thing for thing in scene.things if thing.shape == about.shape]
    if not things:
        return f"no {about.shape}"
    if item.attribute is None:
        noun = about.shape if len(things) == 1 else plural(about.shape)
        return f"{COUNT_WORDS[len(things)]} {noun}"
    return ", ".join(getattr(thing, item.attribute) for thing in things)


def _places(shape: str, scene: Scene) -> str:
    places = [PLACES[thing.cell] for thing in scene.things if thing.shape == shape]
    return f"{shape} {' and '.join(places)}" if places else f"no {shape}"


def _forbidden(absent: Absent, scene: Scene) -> str:
    found = [t for t in scene.things if absent.shape in (None, t.shape)]
    if absent.shape is None:
        colours = sorted({thing.colour for thing in found})
        return "only " + ", ".join(colours) if colours else "nothing there"
    if not found:
        return f"no {absent.shape}"
    return ", ".join(f"{thing.colour} {thing.shape}" for thing in found)
