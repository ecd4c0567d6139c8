"""The second task: what an instruction wants changed in a scene, from two starts.

A policy that leaves the source as it is has execution 1 and consistency 5: half of all there is to
earn under the sum with equal weights, nothing under CME. That pays where what else the policy does
earns less than half, which is what the second start is made for: it seldom does what it is asked
without breaking something, and mostly does it in part and breaks much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from examples.grpo_shapeworld.scene_text import read_edited, write_changes, write_scene
from examples.grpo_shapeworld.task import Asked, Task, Truth
from foundry.rewards.client import edit_item
from foundry.rewards.formulas import cme, weighted_sum
from foundry.shapeworld.drawing import draw_scene, jpeg_bytes
from foundry.shapeworld.edit_truth import Request, consistency_score, execution_score
from foundry.shapeworld.edits import random_edit, random_requests
from foundry.shapeworld.instructions import write_instruction
from foundry.shapeworld.scenes import Scene, make_scene, random_scene
from pipelines.replies import SCORES

# So many things a source has: there is room to add and to move, and something to break.
_FEWEST, _MOST = 2, 5
# Of the second start: how often it does nothing, and how often it does all as it should.
_IDLE, _RIGHT = 0.3, 0.01
# Draws the execution and the consistency that an example of a start aims at.
Aims = Callable[[Random], tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A scene and what is to be done with it; the same in any wording."""

    source: Scene
    requests: tuple[Request, ...]
    instruction: str = field(compare=False)


def _ask(dice: Random) -> Asked:
    """A source and an instruction that can be carried out without touching anything else."""
    while True:
        source = _plain(random_scene(dice))
        if not _FEWEST <= len(source.things) <= _MOST:
            continue
        requests = random_requests(dice, source, unseen=False)
        edited = _edited(dice, source, requests, (5, 5))
        if _scores(source, edited, requests) == (5, 5):
            break
    instruction = write_instruction(source, requests, dice)
    wanted = Wanted(source=source, requests=requests, instruction=instruction)
    return Asked(text=f"{write_scene(source)} . {instruction}", wish=wanted)


def _plain(scene: Scene) -> Scene:
    """A scene of which words tell all."""
    things = [replace(thing, pattern="plain", lean=None) for thing in scene.things]
    return make_scene(scene.background, things)


def _edited(
    dice: Random, source: Scene, requests: tuple[Request, ...], aims: tuple[int, int]
) -> Scene:
    execution, consistency = aims
    return random_edit(
        dice,
        source,
        unseen=False,
        execution=execution,
        consistency=consistency,
        asked=requests,
    ).edited


def _scores(source: Scene, edited: Scene, requests: tuple[Request, ...]) -> tuple[int, int]:
    return (
        execution_score(source, edited, requests),
        consistency_score(source, edited, requests),
    )


def _every_quality(dice: Random) -> tuple[int, int]:
    return dice.choice(SCORES), dice.choice(SCORES)


def _clumsy(dice: Random) -> tuple[int, int]:
    luck = dice.random()
    if luck < _IDLE:
        return 1, 5
    if luck < _IDLE + _RIGHT:
        return 5, 5
    return dice.choice((2, 3)), dice.choice((1, 2))


def _read(asked: Asked, text: str) -> Scene | None:
    return read_edited(asked.wish.source, text)


def _truth(asked: Asked, scene: Scene) -> Truth:
    wanted: Wanted = asked.wish
    execution, consistency = _scores(wanted.source, scene, wanted.requests)
    unchanged = write_scene(scene) == write_scene(wanted.source)
    return {"execution": execution, "consistency": consistency, "unchanged": float(unchanged)}


def _item(asked: Asked, scene: Scene) -> dict[str, str]:
    """Both pictures have a nuisance of their own, as all edits of ShapeWorld do."""
    source = _picture(asked.wish.source, Random(asked.text))
    edited = _picture(scene, Random(f"{asked.text} {write_scene(scene)}"))
    return edit_item(asked.wish.instruction, source, edited)


def _picture(scene: Scene, dice: Random) -> bytes:
    return jpeg_bytes(draw_scene(scene, dice), dice)


def _sum(truth: Truth) -> float:
    return float(weighted_sum((truth["execution"], truth["consistency"]), (0.5, 0.5)))


def _task(name: str, title: str, aims: Aims) -> Task:
    def example(asked: Asked, dice: Random) -> str:
        source = asked.wish.source
        return write_changes(source, _edited(dice, source, asked.wish.requests, aims(dice)))

    return Task(
        name=name,
        title=title,
        ask=_ask,
        example=example,
        read=_read,
        truth=_truth,
        worst={"execution": 1, "consistency": 1, "unchanged": 0.0},
        item=_item,
        mode="reasoning",
        formula_setting="edit_reward",
        formulas={
            "cme": lambda truth: float(cme(truth["execution"], truth["consistency"])),
            "sum": _sum,
        },
        warm_steps=1200,
        # The collapse that is looked for is far from the start.
        beta=0.0,
    )


EDITS = _task("edits", "Edits, from a start of every quality", _every_quality)
CLUMSY_EDITS = _task("clumsy", "Edits, from a start that is bad at them", _clumsy)
