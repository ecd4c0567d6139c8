"""Conversations that the tiny judge is fitted on: drawn pictures, random texts, made-up replies.

The replies follow the reply schemas and read like a judge's. The scores in them follow how bright
a picture is, so that they differ from picture to picture; they say nothing about the prompt or the
edit.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from foundry.shapeworld.lessons import Lesson
from foundry.shapeworld.tiny_judge_pictures import (
    differences,
    draw,
    random_edit,
    random_scene,
)
from prompts import load_prompt

_OPENINGS = {
    5: "Everything that was asked for is there and right",
    4: "Nearly everything is right, only a small detail is off",
    3: "The main part is there, but some important details are wrong",
    2: "Very little of what was asked for can be seen",
    1: "The picture has nothing to do with what was asked for",
}
_QUESTIONS = {
    "subject": "Is there a {0}?",
    "attribute": "Is the {0} as described?",
    "relation": "Is the {0} where the prompt puts it?",
    "count": "Is the number of {0} right?",
    "action": "Is the {0} doing what the prompt says?",
    "style": "Does the style fit the {0}?",
    "composition": "Is the {0} placed well?",
}
# Common words of prompts and instructions: the tokenizer should know them as whole words.
WORDS = """
a an the of in on at with and or to from into over under behind beside between above below near
is are has have no not without two three four five many several some one each other its his her
man woman child boy girl person people dog cat bird horse elephant bear sheep cow fish flower tree
grass leaf mountain river lake sea ocean beach sand sky cloud sun moon star snow rain fire water
house building city street road car bus train truck bicycle boat airplane bridge tower castle room
kitchen table chair bench bed couch desk lamp window door wall floor book clock phone computer
cup bowl plate bottle glass fork knife spoon apple banana orange cake pizza sandwich bread food
hat shirt dress coat shoe bag umbrella face hair eye hand head body wing robot dragon knight king
queen wizard astronaut cartoon painting photo photograph portrait picture image drawing sketch
illustration poster logo sign text word letter style realistic detailed cinematic lighting light
dark bright shadow soft warm cold golden silver metal wooden stone plastic old new young big small
large little tall long short round beautiful cute happy sad angry smiling standing sitting walking
running riding flying holding wearing eating looking sleeping playing reading background foreground
scene view close up wide shot camera lens depth field high quality resolution art digital oil
watercolor anime fantasy space planet galaxy forest desert field garden park night day morning
sunset winter summer add remove replace change make move turn put swap erase delete keep color left
right top bottom middle front back side corner red yellow green blue purple pink brown white grey
gray black box ball shape circle square triangle this that it all same more less very
"""
_WORD_LIST: list[str] = [*WORDS.split()]


def draw_lesson(random: Random) -> Lesson:
    """A random lesson of one of the four reply schemas."""
    lesson = random.choices(_KINDS, weights=(3, 4, 3, 4))[0]
    return lesson(random)


def _checklist_lesson(random: Random) -> Lesson:
    prompt = _free_text(random)
    items = _checklist(_subjects(prompt))
    text = load_prompt("gen_checklist.v1").render({"prompt": prompt})
    return _lesson(random, (), text, {"items": items})


def _gen_score_lesson(random: Random) -> Lesson:
    scene = random_scene(random)
    picture = draw(scene, random)
    prompt = _free_text(random)
    subjects = _subjects(prompt)
    items = _checklist(subjects)
    lines = [
        f"c{i} ({item['kind']}{', critical' if item['critical'] else ''}): {item['question']}"
        for i, item in enumerate(items, 1)
    ]
    score = _score(picture, random)
    verdicts = [
        {
            "id": f"c{i}",
            "evidence": random.choice(
                (
                    scene.words(),
                    f"the {scene.background} background",
                    f"the {random.choice(subjects)} can be seen",
                )
            ),
            "verdict": _verdict(score, random),
        }
        for i in range(1, len(items) + 1)
    ]
    reasoning = f"{_OPENINGS[score]}: {scene.words()}."
    values = {"prompt": prompt, "checklist": "\n".join(lines)}
    text = load_prompt("gen_score.v1").render(values)
    reply = {"verdicts": verdicts, "reasoning": reasoning, "score": score}
    return _lesson(random, (picture,), text, reply)


def _differences_lesson(random: Random) -> Lesson:
    source, edited = random_edit(random)
    pictures = (draw(source, random), draw(edited, random))
    found = differences(source, edited)
    reply = {"obvious": found[:1], "detailed": found[1:]}
    return _lesson(random, pictures, load_prompt("edit_differences.v1").text, reply)


def _edit_score_lesson(random: Random) -> Lesson:
    source, edited = random_edit(random)
    pictures = (draw(source, random), draw(edited, random))
    axis = random.choice(("execution", "consistency"))
    values = {"instruction": _free_text(random), "report": _report(differences(source, edited))}
    score = _score(pictures[axis == "execution"], random)
    reasoning = f"{_OPENINGS[score]}: {source.words()}."
    text = load_prompt(f"edit_{axis}.v1").render(values)
    return _lesson(random, pictures, text, {"reasoning": reasoning, "score": score})


_KINDS: tuple[Callable[[Random], Lesson], ...] = (
    _checklist_lesson,
    _gen_score_lesson,
    _differences_lesson,
    _edit_score_lesson,
)


def _lesson(
    random: Random, pictures: tuple[np.ndarray, ...], text: str, reply: dict[str, Any]
) -> Lesson:
    if random.random() < 0.1:
        text += "\n\n" + load_prompt("retry.v1").render({"fault": _free_text(random)})
    return Lesson(
        kind="toy",
        pictures=pictures,
        text=text,
        reply=json.dumps(reply, separators=(",", ":")),
        system=load_prompt("system.v1").text if pictures else None,
    )


def _free_text(random: Random) -> str:
    """Words in any order, now and then with signs, digits and other scripts among them."""
    words = random.choices(_WORD_LIST, k=random.choice((2, 4, 8, 12, 16, 24)))
    if random.random() < 0.4:
        words[random.randrange(len(words))] = "".join(
            chr(random.choice((random.randrange(33, 127), random.randrange(161, 900))))
            for _ in range(random.randrange(1, 9))
        )
    return " ".join(words).capitalize() + random.choice((".", ""))


def _subjects(prompt: str) -> list[str]:
    words = [word.lower() for word in prompt.rstrip(".").split()]
    return [word for word in words if len(word) > 3 and word.isalpha()] or ["picture"]


def _checklist(subjects: list[str]) -> list[dict[str, Any]]:
    """3 to 7 items, more for a longer prompt. The composition ends every list, which tells when."""
    kinds = [*list(_QUESTIONS)[: min(2 + len(subjects) // 4, 6)], "composition"]
    return [
        {
            "kind": kind,
            "question": _QUESTIONS[kind].format(subjects[i % len(subjects)]),
            "critical": i < 2,
        }
        for i, kind in enumerate(kinds)
    ]


def _verdict(score: int, random: Random) -> str:
    usual = {1: "no", 2: "no", 3: "partly", 4: "yes", 5: "yes"}[score]
    return usual if random.random() < 0.7 else random.choice(("yes", "partly", "no", "unclear"))


def _report(found: list[dict[str, str]]) -> str:
    if not found:
        return "No differences were found."
    lines = [
        f"- {one['category']}: {one['subject']}: {one['before']} -> {one['after']}" for one in found
    ]
    closer = ["On a closer look:"] if len(lines) > 1 else []
    return "\n".join(["At a glance:", lines[0], *closer, *lines[1:]])


def _score(picture: np.ndarray, random: Random) -> int:
    """1 to 5 by the picture's mean brightness; a neighbour now and then, so that it is unsure."""
    level = float(picture.mean()) / 255
    score = 1 + sum(level > bound for bound in (0.3, 0.42, 0.54, 0.66))
    if random.random() < 0.2:
        score += random.choice((-1, 1))
    return min(max(score, 1), 5)
