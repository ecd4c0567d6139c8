"""Rows of ShapeWorld: a group of them from a seed, for the factory to read, with their truth.

A group shares what the factory asks once: a source picture with its edits, or a prompt with its
pictures. Each has dice of its own, so any group can be made alone and any number streamed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Literal

from PIL import Image

from foundry.shapeworld.differences import as_item, differences
from foundry.shapeworld.drawing import draw_scene
from foundry.shapeworld.edit_truth import consistency_score, execution_score, unintended
from foundry.shapeworld.edits import Edit, describe_requests, random_edit
from foundry.shapeworld.gen_pictures import picture_scene
from foundry.shapeworld.gen_prompts import random_wanted, wants_unseen, write_prompt
from foundry.shapeworld.gen_truth import Wanted, checklist, gen_score, verdict
from foundry.shapeworld.instructions import asks_for_unseen, write_instruction
from foundry.shapeworld.scenes import Scene, Thing, is_unseen, random_scene
from pipelines.replies import SCORES

Kind = Literal["gen", "edit"]
ROWS_A_GROUP: dict[Kind, int] = {"edit": 2, "gen": 4}
# Seeds from here on are never trained on: those of the learning curve, ShapeBench and the demo.
FIRST_RESERVED_SEED = MEASURED_IN_TRAINING = 900_000
MEASURED_BY_SHAPEBENCH = 2_000_000
SHOWN_BY_THE_DEMO = 3_000_000
MEASURED_BY_QUALITY = 4_000_000
MEASURED_BY_BALANCE = 5_000_000


@dataclass(frozen=True, kw_only=True)
class Made:
    """A scene that was made for a prompt, and what the prompt asks for."""

    wanted: Wanted
    scene: Scene


@dataclass(frozen=True, kw_only=True)
class WorldRow:
    """One row: the texts of the source format, its pictures by column, and its truth.

    `truth` never goes into the row itself; it follows from `case`. `scores` are the true scores by
    axis.
    """

    id: str
    case: Edit | Made
    texts: dict[str, str]
    pictures: dict[str, Image.Image]
    scores: dict[str, int]
    truth: dict[str, Any]

    @property
    def scenes(self) -> dict[str, Scene]:
        """What each picture shows, by column."""
        if isinstance(self.case, Made):
            return {"image": self.case.scene}
        return {"source_image": self.case.source, "edited_image": self.case.edited}


def make_group(kind: Kind, seed: int, index: int, *, unseen: bool) -> Iterator[WorldRow]:
    """The rows of group `index`, scores aimed evenly at 1-5."""
    name = f"{kind}-{'unseen-' if unseen else ''}{seed}-{index:07d}"
    return (_edit_group if kind == "edit" else _gen_group)(Random(name), name, unseen)


def _edit_group(dice: Random, name: str, unseen: bool) -> Iterator[WorldRow]:
    source = random_scene(dice, unseen=unseen)
    picture = draw_scene(source, dice)
    for i in range(ROWS_A_GROUP["edit"]):
        execution, consistency = dice.choice(SCORES), dice.choice(SCORES)
        edit = random_edit(
            dice, source, unseen=unseen, execution=execution, consistency=consistency
        )
        yield WorldRow(
            id=f"{name}-{i}",
            case=edit,
            texts={"instruction": write_instruction(source, edit.requests, dice)},
            pictures={"source_image": picture, "edited_image": draw_scene(edit.edited, dice)},
            **truth_of_edit(edit),
        )


def _gen_group(dice: Random, name: str, unseen: bool) -> Iterator[WorldRow]:
    wanted = random_wanted(dice, unseen=unseen)
    prompt = write_prompt(wanted, dice)
    for i in range(ROWS_A_GROUP["gen"]):
        scene = picture_scene(dice, wanted, unseen=unseen, score=dice.choice(SCORES))
        yield WorldRow(
            id=f"{name}-{i}",
            case=Made(wanted=wanted, scene=scene),
            texts={"prompt": prompt},
            pictures={"image": draw_scene(scene, dice)},
            **truth_of_picture(wanted, scene),
        )


def truth_of_edit(edit: Edit) -> dict[str, Any]:
    """The scores and the truth columns of an edit."""
    source, edited, requests = edit.source, edit.edited, edit.requests
    extra = unintended(source, edited, requests)
    items = [{**as_item(d), "significant": d.significant} for d in differences(source, edited)]
    scores = {
        "execution": execution_score(source, edited, requests),
        "consistency": consistency_score(source, edited, requests),
    }
    truth = {
        **scores,
        "differences": items,
        "requests": json.dumps(describe_requests(requests)),
        "unintended_significant": sum(d.significant for d in extra),
        "unintended_minor": sum(not d.significant for d in extra),
        "unseen": is_unseen(source) or is_unseen(edited) or asks_for_unseen(source, requests),
        "source_scene": scene_json(source),
        "edited_scene": scene_json(edited),
    }
    return {"scores": scores, "truth": truth}


def truth_of_picture(wanted: Wanted, scene: Scene) -> dict[str, Any]:
    """The score and the truth columns of a picture for a prompt."""
    items = checklist(wanted)
    verdicts = [verdict(item, scene) for item in items]
    score = gen_score(items, verdicts)
    truth = {
        "score": score,
        "checklist": [
            {"kind": i.kind, "question": i.question, "critical": i.critical, "verdict": v}
            for i, v in zip(items, verdicts, strict=True)
        ],
        "wanted": json.dumps(asdict(wanted)),
        "unseen": is_unseen(scene) or wants_unseen(wanted),
        "scene": scene_json(scene),
    }
    return {"scores": {"score": score}, "truth": truth}


def scene_json(scene: Scene) -> str:
    """A scene as JSON text."""
    return json.dumps(asdict(scene))


def read_scene(text: str) -> Scene:
    """The scene that `scene_json` wrote."""
    facts = json.loads(text)
    things = tuple(Thing(**thing) for thing in facts.pop("things"))
    return Scene(**facts, things=things)
