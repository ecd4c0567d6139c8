"""True rationales made false by one word: what a comparison of rationales must find."""

from __future__ import annotations

import re
from random import Random

from foundry.shapeworld.scenes import BACKGROUNDS, COLOURS, PLACES, SHAPES, SIZES
from foundry.shapeworld.wording import COUNT_WORDS, plural

# A word is put in place of another of its kind; "no" and "one" stand in other uses too often.
_KINDS = (
    COLOURS,
    BACKGROUNDS,
    SIZES,
    PLACES,
    SHAPES,
    tuple(plural(shape) for shape in SHAPES),
    COUNT_WORDS[2:],
)
_WORDS = re.compile(
    r"\b(?:" + "|".join(sorted((w for kind in _KINDS for w in kind), key=len)[::-1]) + r")\b"
)


def falsify(rationale: str, dice: Random) -> tuple[str, str, str] | None:
    """The rationale with one of its words wrong, the wrong word and the right one.

    None where it has no word of which another of its kind could stand in its place.
    """
    places = list(_WORDS.finditer(rationale))
    if not places:
        return None
    found = dice.choice(places)
    (kind,) = [kind for kind in _KINDS if found[0] in kind]
    wrong = dice.choice([word for word in kind if word != found[0]])
    return rationale[: found.start()] + wrong + rationale[found.end() :], wrong, found[0]
