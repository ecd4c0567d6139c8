"""Draw the demo's rows: simple scenes with prompts, and edits of them with instructions.

    python -m foundry.shapeworld.demo_rows OUT

Writes `OUT/gen/metadata.jsonl` (`file_name`, `prompt`) and `OUT/edit/rows.jsonl` (`source`,
`edited`, `instruction`), with the pictures beside them. Some pictures match their prompt and some
edits do what they were asked, others do so in part or not at all. Each half has, on purpose, one
row that repeats another and one picture that is cut short. The same rows come out every time; they
are committed as `examples/demo/`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = {
    "red": (214, 48, 49),
    "orange": (240, 147, 43),
    "yellow": (249, 202, 36),
    "green": (39, 150, 80),
    "blue": (48, 92, 200),
    "purple": (125, 60, 170),
    "black": (30, 30, 36),
    "white": (250, 250, 250),
    "grey": (150, 155, 160),
    "sky": (176, 216, 240),
    "sand": (236, 218, 180),
    "night": (28, 34, 70),
}
_FINER = 4  # drawn that much larger and averaged down, for smooth edges


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One shape: `x` and `y` of its centre and its `size` as shares of the picture's short side."""

    shape: str
    colour: str
    x: float
    y: float
    size: float = 0.4


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Shapes on a background, later ones in front; `width` and `height` in pixels."""

    things: tuple[Thing, ...]
    background: str = "white"
    width: int = 96
    height: int = 96

    def draw(self) -> Image.Image:
        """The scene as an RGB picture."""
        size = (self.width * _FINER, self.height * _FINER)
        picture = Image.new("RGB", size, COLOURS[self.background])
        pen = ImageDraw.Draw(picture)
        for thing in self.things:
            _draw_thing(pen, thing, min(size))
        return picture.reduce(_FINER)

    def swap(self, index: int, **changes: object) -> Scene:
        """The scene with one thing changed."""
        things = list(self.things)
        things[index] = replace(things[index], **changes)
        return replace(self, things=tuple(things))

    def plus(self, *things: Thing) -> Scene:
        """The scene with more things in front."""
        return replace(self, things=self.things + things)

    def minus(self, index: int) -> Scene:
        """The scene with one thing gone."""
        return replace(self, things=self.things[:index] + self.things[index + 1 :])


def _draw_thing(pen: ImageDraw.ImageDraw, thing: Thing, unit: int) -> None:
    x, y, half = thing.x * unit, thing.y * unit, thing.size * unit / 2
    box, colour = (x - half, y - half, x + half, y + half), COLOURS[thing.colour]
    match thing.shape:
        case "circle":
            pen.ellipse(box, fill=colour)
        case "ring":
            pen.ellipse(box, outline=colour, width=round(half * 0.4))
        case "square":
            pen.rectangle(box, fill=colour)
        case "bar":
            pen.rectangle((x - half, y - half / 3, x + half, y + half / 3), fill=colour)
        case "triangle":
            pen.polygon([(x, y - half), (x + half, y + half), (x - half, y + half)], fill=colour)
        case "star":
            turns = [math.pi * i / 5 for i in range(10)]
            reach = [half if i % 2 == 0 else half * 0.45 for i in range(10)]
            points = [
                (x + r * math.sin(turn), y - r * math.cos(turn))
                for turn, r in zip(turns, reach, strict=True)
            ]
            pen.polygon(points, fill=colour)
        case _:
            raise ValueError(f"no shape '{thing.shape}'")


def gen_rows() -> list[tuple[str, list[Scene]]]:
    """Prompts, each with the scenes that were drawn for it, the best match first."""
    ball = Thing(shape="circle", colour="red", x=0.3, y=0.6)
    box = Thing(shape="square", colour="blue", x=0.7, y=0.6, size=0.3)
    pair = Scene(things=(ball, box))
    star = Thing(shape="star", colour="yellow", x=0.5, y=0.5, size=0.7)
    night = Scene(things=(star,), background="night", width=128, height=128)
    roof = Thing(shape="triangle", colour="red", x=0.5, y=0.3, size=0.5)
    wall = Thing(shape="square", colour="orange", x=0.5, y=0.75, size=0.45)
    house = Scene(things=(roof, wall), background="sky", width=160, height=128)
    dots = tuple(
        Thing(shape="circle", colour="green", x=x, y=0.5, size=0.25) for x in (0.2, 0.5, 0.8)
    )
    three = Scene(things=dots)
    ring = Thing(shape="ring", colour="purple", x=0.5, y=0.5, size=0.8)
    target = Scene(things=(ring, replace(ball, x=0.5, y=0.5, size=0.3)), background="sand")
    bar = Thing(shape="bar", colour="black", x=0.8, y=0.8, size=0.9)
    bridge = Scene(things=(bar,), background="grey", width=192, height=112)
    return [
        (
            "A red ball to the left of a blue square on a plain white background.",
            [pair, pair.swap(0, x=0.75, y=0.3).swap(1, x=0.25), pair.minus(0), night],
        ),
        (
            "One large yellow star in a dark night sky.",
            [night, night.swap(0, size=0.25), replace(night, background="sky")],
        ),
        (
            "A child's drawing of a house: an orange wall under a red roof, blue sky, no sun.",
            [
                house,
                house.plus(Thing(shape="circle", colour="yellow", x=1.05, y=0.2, size=0.25)),
                house.swap(0, colour="green"),
            ],
        ),
        (
            "Exactly three green dots in a row, minimalist poster.",
            [three, three.minus(1), three.plus(replace(dots[0], x=0.5, y=0.15))],
        ),
        (
            "A purple ring with a small red ball in its middle, sand-coloured paper.",
            [target, target.minus(1), target.swap(0, colour="blue")],
        ),
        ("A long black bar on grey ground, seen from above.", [bridge, three]),
    ]


def edit_rows() -> list[tuple[Scene, list[tuple[Scene, list[str]]]]]:
    """Sources, each with its edited versions, each with the instructions it is paired with."""
    ball = Thing(shape="circle", colour="red", x=0.3, y=0.6)
    box = Thing(shape="square", colour="blue", x=0.7, y=0.6, size=0.3)
    pair = Scene(things=(ball, box))
    tree = Thing(shape="triangle", colour="green", x=0.4, y=0.55, size=0.7)
    park = Scene(things=(tree,), background="sky", width=160, height=120)
    sun = Thing(shape="circle", colour="yellow", x=1.0, y=0.25, size=0.3)
    stars = tuple(
        Thing(shape="star", colour="yellow", x=x, y=y, size=0.3)
        for x, y in ((0.25, 0.3), (0.6, 0.6), (0.8, 0.2))
    )
    sky = Scene(things=stars, background="night", width=128, height=128)
    ring = Thing(shape="ring", colour="purple", x=0.5, y=0.5, size=0.7)
    paper = Scene(things=(ring,), background="sand", width=192, height=144)
    recolour = "Make the red ball green."
    drop = "Remove the blue square."
    return [
        (
            pair,
            [
                (pair.swap(0, colour="green"), [recolour, drop]),
                (pair.swap(0, colour="green").swap(1, colour="green"), [recolour]),
                (pair.minus(1), [drop, recolour]),
                (pair, [drop]),
            ],
        ),
        (
            park,
            [
                (park.plus(sun), ["Add a yellow sun to the sky on the right."]),
                (
                    replace(park.plus(sun), background="orange"),
                    ["Add a yellow sun to the sky on the right.", "Turn the day into a sunset."],
                ),
                (replace(park, background="night"), ["Turn the sky into a dark night sky."]),
            ],
        ),
        (
            sky,
            [
                (sky.minus(2), ["Remove the star at the top right."]),
                (sky.minus(1), ["Remove the star at the top right.", "Leave only two stars."]),
                (sky.swap(1, y=0.85), ["Move the lowest star to the bottom edge."]),
            ],
        ),
        (
            paper,
            [
                (paper.swap(0, x=0.95), ["Move the ring to the right."]),
                (paper.swap(0, shape="square"), ["Replace the ring with a square."]),
                (
                    paper.swap(0, x=0.95, colour="black"),
                    ["Move the ring to the right.", "Make the ring black."],
                ),
            ],
        ),
    ]


def write_demo_rows(folder: Path) -> tuple[int, int]:
    """Write both halves into `folder`. Returns how many gen and how many edit rows there are."""
    return _write_gen(folder / "gen"), _write_edit(folder / "edit")


def _write_gen(folder: Path) -> int:
    rows = []
    for number, (prompt, scenes) in enumerate(gen_rows(), 1):
        for version, scene in enumerate(scenes):
            name = f"{number}{'abcdef'[version]}.png"
            _save(folder / name, _png(scene))
            rows.append({"file_name": name, "prompt": prompt})
    prompt, scenes = gen_rows()[0]
    _save(folder / "repeated.png", _png(scenes[0]))
    rows.append({"file_name": "repeated.png", "prompt": prompt})
    _save(folder / "cut-short.png", _cut(_png(scenes[1])))
    rows.append({"file_name": "cut-short.png", "prompt": prompt})
    _save_rows(folder / "metadata.jsonl", rows)
    return len(rows)


def _write_edit(folder: Path) -> int:
    rows = []
    for number, (source, versions) in enumerate(edit_rows(), 1):
        _save(folder / f"{number}.png", _png(source))
        for version, (edited, instructions) in enumerate(versions):
            name = f"{number}{'abcdef'[version]}.png"
            _save(folder / name, _png(edited))
            rows += [
                {"source": f"{number}.png", "edited": name, "instruction": instruction}
                for instruction in instructions
            ]
    rows.append(dict(rows[0]))
    _save(folder / "cut-short.png", _cut(_png(edit_rows()[0][1][0][0])))
    rows.append({**rows[0], "edited": "cut-short.png"})
    _save_rows(folder / "rows.jsonl", rows)
    return len(rows)


def _png(scene: Scene) -> bytes:
    file = BytesIO()
    scene.draw().save(file, "PNG", optimize=True)
    return file.getvalue()


def _cut(file: bytes) -> bytes:
    return file[: len(file) // 2]


def _save(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _save_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    _save(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: `OUT`. Returns 0."""
    parser = argparse.ArgumentParser(description="Draw the demo's rows.")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to")
    out = parser.parse_args(argv).out
    gen, edit = write_demo_rows(out)
    sys.stdout.write(f"{out}: {gen} gen rows, {edit} edit rows\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
