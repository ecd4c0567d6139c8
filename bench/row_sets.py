"""Rows for a measurement: small drawn pictures, as many as asked for, the same every time."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

SIDE_PX = 96
_COLOURS = ("red", "green", "blue", "gold", "purple", "orange", "brown", "black")
_SHAPES = ("circle", "square", "bar", "arch")
_PLACES = ("on the left", "on the right", "at the top", "at the bottom", "in the middle")
_CHANGES = (
    "make the {} {} larger",
    "move the {} {} to the other side",
    "remove the {} {}",
    "paint the {} {} white",
    "add a second {} {}",
    "turn the {} {} upside down",
    "make the {} {} half as tall",
    "put a thin frame around the {} {}",
)


def write_rows(folder: Path, kind: str, *, groups: int, rows_a_group: int, seed: int = 0) -> Path:
    """Write pictures and `rows.jsonl` into a folder; returns the JSON lines file.

    A group is what shares an upstream answer: a picture pair with `rows_a_group` instructions
    (edit), or a prompt with as many pictures (gen). Other seeds give other pictures and texts.
    """
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    make = _edit_rows if kind == "edit" else _gen_rows
    path = folder / "rows.jsonl"
    with open(path, "w", encoding="utf-8") as file:
        for i in range(groups):
            dice = random.Random(f"{seed} {i}")
            for row in make(folder, f"{seed}-{i:06d}", rows_a_group, dice):
                file.write(json.dumps(row) + "\n")
    return path


def _edit_rows(folder: Path, name: str, n: int, dice: random.Random) -> Iterator[dict[str, Any]]:
    source, edited = f"pictures/{name}-a.png", f"pictures/{name}-b.png"
    things = [_thing(dice) for _ in range(3)]
    _draw(things, dice).save(folder / source)
    _draw([*things[:2], _thing(dice)], dice).save(folder / edited)
    for k in range(n):
        colour, shape, place = things[k % 3]
        change = _CHANGES[k % len(_CHANGES)].format(colour, shape)
        text = f"In scene {name}, {change}, the one that stands {place} (wish {k})."
        yield {"source_image": source, "edited_image": edited, "instruction": text}


def _gen_rows(folder: Path, name: str, n: int, dice: random.Random) -> Iterator[dict[str, Any]]:
    things = [_thing(dice) for _ in range(3)]
    prompt = f"Scene {name}: " + ", ".join(f"a {c} {s} {p}" for c, s, p in things)
    for k in range(n):
        path = f"pictures/{name}-{k}.png"
        _draw(things, dice).save(folder / path)
        yield {"prompt": prompt, "image": path}


def _thing(dice: random.Random) -> tuple[str, str, str]:
    return dice.choice(_COLOURS), dice.choice(_SHAPES), dice.choice(_PLACES)


def _draw(things: list[tuple[str, str, str]], dice: random.Random) -> Image.Image:
    # Three random levels of the background make every picture's bytes its own.
    image = Image.new("RGB", (SIDE_PX, SIDE_PX), tuple(dice.randrange(180, 256) for _ in range(3)))
    pen = ImageDraw.Draw(image)
    for colour, shape, _ in things:
        x, y, size = dice.randrange(60), dice.randrange(60), dice.randrange(12, 34)
        box = (x, y, x + size, y + size)
        match shape:
            case "circle":
                pen.ellipse(box, fill=colour)
            case "square":
                pen.rectangle(box, fill=colour)
            case "bar":
                pen.rectangle((x, y, x + size, y + size // 3), fill=colour)
            case _:
                pen.arc(box, 180, 360, fill=colour, width=4)
    return image
