"""What differs between two scenes, from the scenes alone, and which differences are significant.

The table of significant kinds stands in docs/shapeworld.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foundry.shapeworld.scenes import PLACES, Scene, Thing, are_adjacent, are_near, size_steps
from foundry.shapeworld.wording import look, name_by_place

# With fewer things to go by, a picture is never called another one.
FEWEST_TO_BE_ANOTHER = 2


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One difference between two scenes, in the words of a report.

    `key` is the thing it is about, None for the background or the whole picture.
    """

    category: str
    subject: str
    before: str
    after: str
    significant: bool
    key: int | None


def as_item(difference: Difference) -> dict[str, str]:
    """A difference as an item of a reply, its fields in the order of the schema."""
    return {name: getattr(difference, name) for name in ("subject", "category", "before", "after")}


def differences(source: Scene, edited: Scene) -> list[Difference]:
    """All differences, the significant ones first, each kind in order of its place.

    A picture that is almost entirely another one gets a single item that says so.
    """
    found = all_differences(source, edited)
    if is_another_scene(source, found):
        before, after = (f"{len(s.things)} things on {s.background}" for s in (source, edited))
        return [
            Difference(
                category="other",
                subject="whole picture",
                before=before,
                after=after,
                significant=True,
                key=None,
            )
        ]
    return in_order(found)


def in_order(found: Sequence[Difference]) -> list[Difference]:
    """Differences as a report tells them: the significant first, each kind in order of its place.

    The background comes before any place.
    """
    return sorted(found, key=lambda d: (not d.significant, _place_number(d.subject)))


def _place_number(subject: str) -> int:
    return next((i for i, place in enumerate(PLACES) if subject.startswith(f"{place} ")), -1)


def all_differences(source: Scene, edited: Scene) -> list[Difference]:
    """Every single difference, however many: the background, then the things by their places.

    What was there before is taken where it was.
    """
    found = []
    if source.background != edited.background:
        found.append(
            Difference(
                category="background",
                subject="background",
                before=source.background,
                after=edited.background,
                significant=True,
                key=None,
            )
        )
    after, before = edited.by_key(), source.by_key()
    new = [thing for thing in edited.things if thing.key not in before]
    for thing in sorted((*source.things, *new), key=lambda thing: thing.cell):
        if thing.key in before:
            found += differences_of_thing(thing, after.get(thing.key))
        else:
            found.append(
                Difference(
                    category="presence",
                    subject=name_by_place(thing),
                    before="absent",
                    after=look(thing),
                    significant=True,
                    key=thing.key,
                )
            )
    return found


def differences_of_thing(old: Thing, new: Thing | None) -> list[Difference]:
    """What became of a thing: all differences from what it is now, or that it is gone."""
    subject = name_by_place(old)

    def item(category: str, before: str, after: str, significant: bool) -> Difference:
        return Difference(
            category=category,
            subject=subject,
            before=before,
            after=after,
            significant=significant,
            key=old.key,
        )

    if new is None:
        return [item("presence", look(old), "absent", True)]
    found = []
    if new.shape != old.shape:
        # A thing of another shape is another thing: its colour, size and pattern are not counted.
        found.append(item("shape", look(old), look(new), True))
    else:
        if new.colour != old.colour:
            far = not are_near(old.colour, new.colour)
            found.append(item("colour", old.colour, new.colour, far))
        if new.size != old.size:
            found.append(item("size", old.size, new.size, size_steps(old.size, new.size) > 1))
        if new.pattern != old.pattern:
            found.append(item("texture", old.pattern, new.pattern, False))
    if new.cell != old.cell:
        far = not are_adjacent(old.cell, new.cell)
        found.append(item("position", PLACES[old.cell], PLACES[new.cell], far))
    return found


def is_another_scene(source: Scene, changes: Sequence[Difference]) -> bool:
    """Whether these changes make almost entirely another picture of a scene.

    The background changed and, of at least two things, more than half are gone or have become
    things of another shape.
    """
    keys = source.by_key().keys()
    lost = {d.key for d in changes if d.category in ("presence", "shape")} & keys
    new_ground = any(d.category == "background" for d in changes)
    return new_ground and len(keys) >= FEWEST_TO_BE_ANOTHER and 2 * len(lost) > len(keys)
