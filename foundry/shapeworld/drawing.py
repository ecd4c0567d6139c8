"""From a scene to a picture, with nuisance that a judge must ignore.

Two pictures of one scene drawn with different dice differ in jitter, light, noise, size and JPEG
grain, and in nothing that the truth knows of. The same scene and dice give the same bytes with the
same Pillow.
"""

from __future__ import annotations

import io
import math
from random import Random

from PIL import Image, ImageChops, ImageDraw, ImageEnhance

from foundry.shapeworld.scenes import Scene, Thing

SIDE_PX = 192
_FINER = 2  # Drawn that much larger and averaged down, for smooth edges.
# Half the extent of a thing as a share of its cell.
RADIUS = {"small": 0.2, "medium": 0.32, "large": 0.45}
LEAN = 0.4
_JITTER = 0.03
# The two of a near pair are closer to each other than any others are; a test measures it.
RGB = {
    "red": (228, 40, 40),
    "crimson": (178, 20, 52),
    "orange": (240, 135, 25),
    "gold": (225, 175, 35),
    "green": (25, 120, 55),
    "lime": (70, 165, 60),
    "blue": (35, 110, 215),
    "navy": (25, 65, 150),
    "purple": (125, 25, 125),
    "violet": (165, 70, 170),
    "grey": (120, 122, 125),
    "black": (60, 60, 64),
    "white": (250, 250, 250),
    "cream": (250, 238, 205),
    "sky": (190, 225, 250),
    "mint": (200, 240, 215),
    "lilac": (228, 212, 245),
    "silver": (208, 210, 214),
}
# The pattern of a light colour is drawn in a darker tone, that of a dark one in a lighter.
_DARK = frozenset({"crimson", "green", "navy", "purple", "black"})
Points = list[tuple[float, float]]


def draw_scene(scene: Scene, dice: Random) -> Image.Image:
    """Draw a scene: RGB uint8, about (SIDE_PX, SIDE_PX, 3), with nuisance from `dice`."""
    side = SIDE_PX * _FINER
    image = Image.new("RGB", (side, side), RGB[scene.background])
    # What leans is behind what it leans towards.
    for thing in sorted(scene.things, key=lambda t: t.lean is None):
        _draw_thing(image, thing, dice)
    return _disturb(image, dice)


def jpeg_bytes(image: Image.Image, dice: Random) -> bytes:
    """A picture as JPEG of a quality between 80 and 95."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=dice.randint(80, 95))
    return out.getvalue()


def _draw_thing(image: Image.Image, thing: Thing, dice: Random) -> None:
    cell = image.width / 3
    column, row = thing.cell % 3 + 0.5, thing.cell // 3 + 0.5
    if thing.lean is not None:
        column += LEAN * (thing.lean % 3 - thing.cell % 3)
        row += LEAN * (thing.lean // 3 - thing.cell // 3)
    x = (column + dice.uniform(-_JITTER, _JITTER)) * cell
    y = (row + dice.uniform(-_JITTER, _JITTER)) * cell
    radius = RADIUS[thing.size] * cell * dice.uniform(0.97, 1.03)
    # On a plane just large enough for it: whole ones would be most of the time.
    left, top = int(x - radius) - 1, int(y - radius) - 1
    side = int(2 * radius) + 4
    mask = Image.new("L", (side, side), 0)
    _fill_shape(ImageDraw.Draw(mask), thing.shape, x - left, y - top, radius)
    image.paste(_ink(thing, mask.size, x - left, y - top, cell), (left, top), mask)


def _fill_shape(pen: ImageDraw.ImageDraw, shape: str, x: float, y: float, r: float) -> None:
    match shape:
        case "circle":
            pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
        case "square":
            side = 0.88 * r
            pen.rectangle((x - side, y - side, x + side, y + side), fill=255)
        case "triangle":
            pen.polygon([(x, y - r), (x + r, y + 0.85 * r), (x - r, y + 0.85 * r)], fill=255)
        case "diamond":
            pen.polygon([(x, y - r), (x + 0.75 * r, y), (x, y + r), (x - 0.75 * r, y)], fill=255)
        case "star":
            pen.polygon(_star(x, y, r), fill=255)
        case "cross":
            arm = 0.34 * r
            pen.rectangle((x - r, y - arm, x + r, y + arm), fill=255)
            pen.rectangle((x - arm, y - r, x + arm, y + r), fill=255)


def _star(x: float, y: float, r: float) -> Points:
    points = []
    for i in range(10):
        reach = r if i % 2 == 0 else 0.45 * r
        angle = math.pi * i / 5 - math.pi / 2
        points.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    return points


def _ink(thing: Thing, size: tuple[int, int], x: float, y: float, cell: float) -> Image.Image:
    """A plane of the thing's colour, with its pattern where the thing is."""
    ink = Image.new("RGB", size, RGB[thing.colour])
    if thing.pattern == "plain":
        return ink
    tone = pattern_rgb(thing.colour)
    pen, step, half = ImageDraw.Draw(ink), cell * 0.15, cell / 2
    steps = range(-4, 5)
    if thing.pattern == "striped":
        for i in steps:
            at = x + i * step
            pen.rectangle((at, y - half, at + step * 0.4, y + half), fill=tone)
    else:
        dot = step * 0.27
        for i in steps:
            for j in steps:
                px, py = x + i * step, y + j * step
                pen.ellipse((px - dot, py - dot, px + dot, py + dot), fill=tone)
    return ink


def pattern_rgb(colour: str) -> tuple[int, int, int]:
    """The RGB of a colour's pattern: another tone of it, unlike any background."""
    r, g, b = RGB[colour]
    if colour in _DARK:
        return (r * 11 + 255 * 9) // 20, (g * 11 + 255 * 9) // 20, (b * 11 + 255 * 9) // 20
    return r * 45 // 100, g * 45 // 100, b * 45 // 100


def _disturb(image: Image.Image, dice: Random) -> Image.Image:
    side = SIDE_PX + dice.randint(-6, 6)
    image = image.resize((side, side), Image.Resampling.LANCZOS)
    image = ImageEnhance.Brightness(image).enhance(dice.uniform(0.95, 1.03))
    # Pillow's own noise cannot be seeded.
    grain = Image.frombytes("L", image.size, dice.randbytes(side * side))
    strength = dice.uniform(0.0, 0.03)
    dark = grain.point([int(value * strength) for value in range(256)])
    return ImageChops.subtract(image, Image.merge("RGB", (dark, dark, dark)))
