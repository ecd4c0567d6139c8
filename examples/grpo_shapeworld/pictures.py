"""The first task: a scene for a prompt."""

from __future__ import annotations

from random import Random

from examples.grpo_shapeworld.scene_text import read_scene, write_scene
from examples.grpo_shapeworld.task import Asked, Task, Truth
from foundry.rewards.client import gen_item
from foundry.rewards.formulas import normalise
from foundry.shapeworld.drawing import draw_scene, jpeg_bytes
from foundry.shapeworld.gen_pictures import picture_scene
from foundry.shapeworld.gen_prompts import random_wanted, write_prompt
from foundry.shapeworld.gen_truth import checklist, gen_score, verdict
from foundry.shapeworld.scenes import Scene
from pipelines.replies import SCORES


def _ask(dice: Random) -> Asked:
    wanted = random_wanted(dice, unseen=False)
    return Asked(text=write_prompt(wanted, dice), wish=wanted)


def _example(asked: Asked, dice: Random) -> str:
    """A scene that is as often bad as good."""
    return write_scene(picture_scene(dice, asked.wish, unseen=False, score=dice.choice(SCORES)))


def _read(_: Asked, text: str) -> Scene | None:
    return read_scene(text)


def _truth(asked: Asked, scene: Scene) -> Truth:
    items = checklist(asked.wish)
    return {"score": gen_score(items, [verdict(item, scene) for item in items])}


def _item(asked: Asked, scene: Scene) -> dict[str, str]:
    dice = Random(f"{asked.text} {write_scene(scene)}")
    return gen_item(asked.text, jpeg_bytes(draw_scene(scene, dice), dice))


PICTURES = Task(
    name="gen",
    title="Scenes for prompts",
    ask=_ask,
    example=_example,
    read=_read,
    truth=_truth,
    worst={"score": 1},
    item=_item,
    mode="expected",
    formula_setting="gen_reward",
    formulas={"alignment": lambda truth: float(normalise(truth["score"]))},
    warm_steps=1200,
    beta=0.5,
)
