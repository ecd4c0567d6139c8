"""Pictures for fitting the tiny judge: one shape on a plain ground, noisy and unevenly lit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import numpy as np

from foundry.shapeworld.judge_model import SIDE_PX

COLOURS = {
    "red": (214, 40, 40),
    "orange": (244, 140, 40),
    "yellow": (246, 214, 70),
    "green": (60, 150, 70),
    "blue": (50, 90, 200),
    "purple": (120, 60, 160),
    "pink": (240, 150, 180),
    "brown": (120, 78, 48),
    "white": (245, 245, 245),
    "grey": (128, 128, 128),
    "black": (24, 24, 24),
}
SHAPES = ("square", "circle", "bar", "stripe")
PLACES = ("on the left", "on the right", "at the top", "at the bottom", "in the middle")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is drawn: a shape of a colour at a place, before a background colour."""

    background: str
    colour: str
    shape: str
    place: str

    def words(self) -> str:
        """The shape in a sentence, such as `the red bar at the top`."""
        return f"the {self.colour} {self.shape} {self.place}"


def random_scene(random: Random) -> Scene:
    """Any scene."""
    background, colour = random.sample(list(COLOURS), 2)
    return Scene(
        background=background,
        colour=colour,
        shape=random.choice(SHAPES),
        place=random.choice(PLACES),
    )


def random_edit(random: Random) -> tuple[Scene, Scene]:
    """A scene and an edit of it: the lighter the scene, the more of it changes.

    Telling two pictures apart is too much for so small a model; this it can learn.
    """
    source, other = random_scene(random), random_scene(random)
    light = sum(COLOURS[source.background]) / (3 * 255)
    if light < 0.3:
        return source, source
    if light > 0.6:
        return source, other
    changed = random.choice(("background", "colour", "place"))
    return source, replace(source, **{changed: getattr(other, changed)})


def differences(source: Scene, edited: Scene) -> list[dict[str, str]]:
    """What an edit changed, as items of a difference report."""
    names = {"colour": "colour", "place": "position", "background": "background"}
    return [
        {
            "subject": "background" if field == "background" else source.shape,
            "category": category,
            "before": getattr(source, field),
            "after": getattr(edited, field),
        }
        for field, category in names.items()
        if getattr(source, field) != getattr(edited, field)
    ]


def draw(scene: Scene, random: Random) -> np.ndarray:
    """The scene as RGB uint8 (SIDE_PX, SIDE_PX, 3), lit and speckled at random."""
    picture = np.tile(np.array(COLOURS[scene.background], np.float32), (SIDE_PX, SIDE_PX, 1))
    width, height = {
        "square": (34, 34),
        "circle": (36, 36),
        "bar": (60, 18),
        "stripe": (16, 60),
    }[scene.shape]
    x, y = {
        "on the left": (24, 48),
        "on the right": (72, 48),
        "at the top": (48, 22),
        "at the bottom": (48, 74),
        "in the middle": (48, 48),
    }[scene.place]
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    across, down = (columns - x) / (width / 2), (rows - y) / (height / 2)
    inside = np.maximum(abs(across), abs(down)) <= 1
    if scene.shape == "circle":
        inside = across**2 + down**2 <= 1
    picture[inside] = np.array(COLOURS[scene.colour], np.float32)
    # Photographs are neither flat nor evenly lit.
    picture *= 0.6 + 0.8 * random.random()
    noise = np.random.default_rng(random.getrandbits(32)).normal(0, 12, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)
