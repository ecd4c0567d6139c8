"""Conversations made of ShapeWorld rows, in the factory's own prompts and reply schemas.

A lesson is what the factory would ask about a row, and the reply of a judge that sees everything.
A further kind of question is a function here and a line in the table of mixture.py; what is asked
in training alone stands in scene_lessons.py.
"""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from random import Random

from PIL import Image

from foundry.shapeworld.changes import Canvas, disturb
from foundry.shapeworld.differences import Difference, as_item, differences, in_order
from foundry.shapeworld.drawing import jpeg_bytes
from foundry.shapeworld.edits import Edit, misleads
from foundry.shapeworld.flaws import explain_quality, quality_scores, random_flaws, spoil
from foundry.shapeworld.gen_truth import checklist, verdict
from foundry.shapeworld.instructions import read_demands, requests_of, write_demands
from foundry.shapeworld.lesson import (
    Lesson,
    edit_of,
    made_of,
    make_lesson,
    student_lesson,
)
from foundry.shapeworld.rationales import (
    evidence,
    explain_consistency,
    explain_execution,
    explain_picture,
)
from foundry.shapeworld.rewriting import rewrite_demands
from foundry.shapeworld.rows import WorldRow, truth_of_edit
from foundry.shapeworld.wrong_rationales import falsify
from pipelines.rendering import (
    AXES,
    MISMATCHES,
    render_checklist,
    render_report,
    student_prompt,
)
from schemas import load_schema

# A judge's own reports miss things and make some up: now and then they do here too, so that the
# judge looks at the pictures as well.
_MISSED = 0.1
_MADE_UP = 0.1
# The lowest execution score of an edit that is scored under a rewritten instruction too.
_REWRITTEN_FROM = 3
# How often neither of two rationales is better: both are wrong.
_NEITHER = 0.15


def report_differences(row: WorldRow, dice: Random) -> list[Lesson]:
    """List what differs between two pictures: the significant at a glance, the rest after."""
    edit = edit_of(row)
    obvious, detailed = split_report(differences(edit.source, edit.edited))
    reply = {"obvious": obvious, "detailed": detailed}
    return [make_lesson("edit_differences", row, dice, {}, reply)]


def split_report(found: list[Difference]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Difference items as a reply holds them: significant ones are obvious, while they fit in."""
    lists = load_schema("edit_differences.v1")["properties"]
    items = [as_item(d) for d in found]
    at_a_glance = min(sum(d.significant for d in found), lists["obvious"]["maxItems"])
    return items[:at_a_glance], items[at_a_glance:][: lists["detailed"]["maxItems"]]


def plan_checklist(row: WorldRow, dice: Random) -> list[Lesson]:
    """Plan what a picture for the prompt must show."""
    items = [
        {"kind": item.kind, "question": item.question, "critical": item.critical}
        for item in checklist(made_of(row).wanted)
    ]
    return [make_lesson("gen_checklist", row, dice, row.texts, {"items": items}, blind=True)]


def score_edit(row: WorldRow, dice: Random) -> list[Lesson]:
    """Both axes, each once with the difference report and once from the pictures alone."""
    edit = edit_of(row)
    found = _as_a_judge_may_report(edit, dice)
    report = row.texts | {"report": render_report(*split_report(found))}
    lessons = []
    for axis in AXES:
        explain = explain_execution if axis == "execution" else explain_consistency
        reply = {"reasoning": explain(edit), "score": row.scores[axis]}
        lessons.append(make_lesson(f"edit_{axis}", row, dice, report, reply))
        lessons.append(student_lesson(row, dice, axis, reply))
    return lessons


def _as_a_judge_may_report(edit: Edit, dice: Random) -> list[Difference]:
    found = differences(edit.source, edit.edited)
    if found and dice.random() < _MISSED:
        found.pop(dice.randrange(len(found)))
    # "Whole picture" stands alone; of a thing that something is told of, nothing else is made up.
    if dice.random() < _MADE_UP and all(d.category != "other" for d in found):
        canvas = Canvas(edit.source, dice, unseen=False)
        disturb(canvas, *dice.choice(((1, 0), (0, 1))))
        made_up = canvas.scene()
        others = differences(edit.source, made_up) if made_up else []
        told = {d.key for d in found}
        found += [d for d in others if d.key not in told]
    return in_order(found)


def rewrite_instruction(row: WorldRow, dice: Random) -> list[Lesson]:
    """Write an instruction off from the row's own in one of the ways of a build."""
    kind = dice.choice(list(MISMATCHES))
    values = row.texts | {"mismatch": MISMATCHES[kind]}
    reply = {"instruction": _rewritten(row, kind, dice)}
    return [make_lesson("rewrite_instruction", row, dice, values, reply, blind=True)]


def score_rewritten(row: WorldRow, dice: Random) -> list[Lesson]:
    """`score_edit` under a rewritten instruction; none for an edit that hardly did what it should,
    or where the new words fit something that came up besides.
    """
    edit = edit_of(row)
    if row.scores["execution"] < _REWRITTEN_FROM:
        return []
    instruction = _rewritten(row, dice.choice(list(MISMATCHES)), dice)
    demands = read_demands(instruction)
    requests = requests_of(edit.source, edit.edited, demands)
    if misleads(edit.source, edit.edited, requests):
        return []
    other = replace(edit, requests=requests)
    texts = {"instruction": instruction}
    return score_edit(replace(row, case=other, texts=texts, **truth_of_edit(other)), dice)


def _rewritten(row: WorldRow, kind: str, dice: Random) -> str:
    demands = read_demands(row.texts["instruction"])
    return write_demands(rewrite_demands(demands, kind, dice), dice)


def score_edit_fast(row: WorldRow, dice: Random) -> list[Lesson]:
    """Both axes from the pictures alone, without reasoning."""
    return [
        student_lesson(row, dice, axis, {"score": row.scores[axis]}, score_only=True)
        for axis in AXES
    ]


def score_picture(row: WorldRow, dice: Random) -> list[Lesson]:
    """A picture for a prompt, once with the checklist and once without."""
    made = made_of(row)
    items = checklist(made.wanted)
    verdicts = [verdict(item, made.scene) for item in items]
    score = row.scores["score"]
    reply = {"reasoning": explain_picture(items, verdicts, score), "score": score}
    found = [
        {"id": f"c{i}", "evidence": evidence(item, made.scene), "verdict": verdict}
        for i, (item, verdict) in enumerate(zip(items, verdicts, strict=True), 1)
    ]
    values = row.texts | {"checklist": render_checklist(row.truth["checklist"])}
    return [
        make_lesson("gen_score", row, dice, values, {"verdicts": found, **reply}),
        student_lesson(row, dice, None, reply),
    ]


def score_picture_fast(row: WorldRow, dice: Random) -> list[Lesson]:
    """A picture for a prompt from the two alone, without reasoning."""
    reply = {"score": row.scores["score"]}
    return [student_lesson(row, dice, None, reply, score_only=True)]


def score_quality(row: WorldRow, dice: Random) -> list[Lesson]:
    """The quality of a picture, whatever it was to show, with flaws of a known gravity."""
    made = made_of(row)
    flaws = random_flaws(dice, made.scene)
    spoilt = spoil(row.pictures["image"], flaws, dice)
    reply = {"reasoning": explain_quality(flaws), **quality_scores(flaws)}
    picture = Image.open(BytesIO(jpeg_bytes(spoilt, dice)))
    return [
        make_lesson("judge_quality", replace(row, pictures={"image": picture}), dice, {}, reply)
    ]


def compare_rationales(row: WorldRow, dice: Random) -> list[Lesson]:
    """Tell a true rationale from one with a wrong word; or two with one each, of which neither is
    better. None for a rationale without a word that could be wrong.
    """
    axis = dice.choice(AXES) if isinstance(row.case, Edit) else None
    true = _rationale(row, axis)
    wrong, other = falsify(true, dice), falsify(true, dice)
    if wrong is None or other is None:
        return []
    (text, said, right), (other_text, other_said, other_right) = wrong, other
    names = ["first", "second"]
    dice.shuffle(names)
    values = {"task": student_prompt(row.texts, axis)[1], "score": str(row.scores[axis or "score"])}
    if text != other_text and dice.random() < _NEITHER:
        values |= {names[0]: text, names[1]: other_text}
        found = {names[0]: (said, right), names[1]: (other_said, other_right)}
        better = "neither"
    else:
        values |= {names[0]: true, names[1]: text}
        found, better = {names[1]: (said, right)}, names[0]
    faults = "; ".join(
        f"the {name} says {said} where it should be {right}"
        for name, (said, right) in sorted(found.items())
    )
    reply = {"reasoning": f"{faults[0].upper()}{faults[1:]}.", "better": better}
    return [make_lesson("compare_rationales", row, dice, values, reply)]


def _rationale(row: WorldRow, axis: str | None) -> str:
    if axis is not None:
        explain = explain_execution if axis == "execution" else explain_consistency
        return explain(edit_of(row))
    made = made_of(row)
    items = checklist(made.wanted)
    verdicts = [verdict(item, made.scene) for item in items]
    return explain_picture(items, verdicts, row.scores["score"])
