"""Pictures with flaws of a known gravity, and the quality scores that follow from them.

Aesthetics suffers from light and colours, technical quality from how the picture was made, and
structure from things that are torn: the three of judge_quality.v1, each 1 to 5. Nuisance that every
picture has (drawing.py) is no flaw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from random import Random

from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from foundry.shapeworld.scenes import Scene
from foundry.shapeworld.wording import COUNT_WORDS

# How grave, from 0: a score is 5 less that.
_HOW = ("", "slightly", "plainly", "heavily", "extremely")
_DARK = (1.0, 0.8, 0.62, 0.45, 0.28)
_PALE = (1.0, 0.6, 0.38, 0.2, 0.08)
_BLUR_PX = (0.0, 1.2, 2.2, 3.6, 5.5)
_NOISE = (0.0, 0.14, 0.28, 0.48, 0.75)
_BLOCK_QUALITY = (95, 26, 14, 7, 2)
# How far the lower half of a torn thing stands from its upper half, as a share of its cell.
_TEAR = {"slightly": 0.1, "plainly": 0.3}
_MOST_TORN = 3


@dataclass(frozen=True, kw_only=True)
class Flaws:
    """What is wrong with a picture: `light` and `making` name a flaw and how grave it is, 0 to 4.

    `torn` are the cells of torn things, `tear` how far; a slight tear is of one thing.
    """

    light: tuple[str, int]
    making: tuple[str, int]
    torn: tuple[int, ...] = ()
    tear: str = "plainly"


def random_flaws(dice: Random, scene: Scene) -> Flaws:
    """Flaws of every gravity, and each of the three without any more often."""
    # A tear is of one thing: none that leans, and none that another leans towards.
    leant = {thing.lean for thing in scene.things}
    whole = [t.cell for t in scene.things if t.lean is None and t.cell not in leant]
    n = min(dice.choice((0, 0, 1, 1, 2, _MOST_TORN)), len(whole))
    return Flaws(
        light=(dice.choice(list(_LIGHT)), _gravity(dice)),
        making=(dice.choice(list(_MAKING)), _gravity(dice)),
        torn=tuple(sorted(dice.sample(whole, n))),
        tear=dice.choice(list(_TEAR)) if n == 1 else "plainly",
    )


def _gravity(dice: Random) -> int:
    return dice.choice((0, *range(len(_HOW))))


def quality_scores(flaws: Flaws) -> dict[str, int]:
    """`aesthetics`, `technical` and `structure`, 1 to 5.

    Structure: 5 if nothing is torn, 4 for a slight tear, else 3, 2 and 1 for one, two and more.
    """
    torn = 0 if not flaws.torn else 1 if flaws.tear == "slightly" else 1 + len(flaws.torn)
    return {
        "aesthetics": 5 - flaws.light[1],
        "technical": 5 - flaws.making[1],
        "structure": 5 - min(torn, 1 + _MOST_TORN),
    }


def explain_quality(flaws: Flaws) -> str:
    """A sentence on each of the three."""
    light, making = (_told(*flaw) for flaw in (flaws.light, flaws.making))
    n = len(flaws.torn)
    torn = f"{COUNT_WORDS[n]} thing{' is' if n == 1 else 's are'} {flaws.tear} torn"
    parts = (
        f"the picture is {light}" if light else "light and colours are right",
        f"it is {making}" if making else "it is sharp and clean",
        torn if n else "all things are whole",
    )
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts)


def _told(name: str, gravity: int) -> str:
    return f"{_HOW[gravity]} {name}" if gravity else ""


def spoil(picture: Image.Image, flaws: Flaws, dice: Random) -> Image.Image:
    """The picture of a scene, RGB, with these flaws."""
    for cell in flaws.torn:
        picture = _tear(picture, cell, _TEAR[flaws.tear] * dice.choice((-1, 1)))
    for makers, (name, gravity) in ((_LIGHT, flaws.light), (_MAKING, flaws.making)):
        if gravity:
            picture = makers[name](picture, gravity, dice)
    return picture


def _tear(picture: Image.Image, cell: int, shift: float) -> Image.Image:
    side = picture.width / 3
    left, top = cell % 3 * side, cell // 3 * side
    box = (round(left), round(top + side / 2), round(left + side), round(top + side))
    torn = picture.copy()
    torn.paste(ImageChops.offset(picture.crop(box), round(shift * side), 0), box)
    return torn


def _darken(picture: Image.Image, gravity: int, dice: Random) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(_DARK[gravity])


def _pale(picture: Image.Image, gravity: int, dice: Random) -> Image.Image:
    return Image.blend(Image.new("RGB", picture.size, "white"), picture, _PALE[gravity])


def _blur(picture: Image.Image, gravity: int, dice: Random) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(_BLUR_PX[gravity]))


def _noise(picture: Image.Image, gravity: int, dice: Random) -> Image.Image:
    grain = [
        Image.frombytes("L", picture.size, dice.randbytes(picture.width * picture.height))
        for _ in picture.getbands()
    ]
    return Image.blend(picture, Image.merge("RGB", grain), _NOISE[gravity])


def _blocks(picture: Image.Image, gravity: int, dice: Random) -> Image.Image:
    out = BytesIO()
    picture.save(out, "JPEG", quality=_BLOCK_QUALITY[gravity])
    return Image.open(out).convert("RGB")


_Maker = Callable[[Image.Image, int, Random], Image.Image]
_LIGHT: Mapping[str, _Maker] = {"too dark": _darken, "too pale": _pale}
_MAKING: Mapping[str, _Maker] = {"blurred": _blur, "noisy": _noise, "blocky": _blocks}
