"""Lessons of the bundled judge: our own prompts, legal replies, the same rows both ways."""

import json
import re
from collections import Counter
from random import Random

import pytest

from foundry.shapeworld.differences import Difference, differences, in_order
from foundry.shapeworld.edit_truth import unintended
from foundry.shapeworld.edits import Edit
from foundry.shapeworld.lessons import _as_a_judge_may_report, split_report
from foundry.shapeworld.mixture import MIXTURE, every_lesson, lessons_of_groups
from foundry.shapeworld.rationales import (
    explain_consistency,
    explain_execution,
    tell_outcomes,
    tell_unasked,
)
from foundry.shapeworld.rows import make_group
from foundry.shapeworld.scene_lessons import changes_by_place, describe
from foundry.shapeworld.scenes import Scene, Thing
from foundry.shapeworld.wrong_rationales import falsify
from prompts import load_prompt
from schemas import request_schema, validator


@pytest.fixture(scope="module")
def lessons():
    return every_lesson(5, 40, phase="judge")


def test_every_reply_satisfies_the_schema_of_its_prompt(lessons):
    for lesson in lessons:
        if not lesson.kind.startswith("scene_"):
            prompt = load_prompt(f"{lesson.kind.split('.')[0]}.v1")
            validator(prompt.output_schema).validate(json.loads(lesson.reply))


def test_verdicts_answer_the_items_shown_one_by_one(lessons):
    for lesson in lessons:
        if lesson.kind == "gen_score":
            reply = json.loads(lesson.reply)
            shown = lesson.text.split("Checklist:\n")[1].split("\n\n")[0].split("\n")
            assert len(shown) == len(reply["verdicts"])
            assert validator("gen_score.v1", len(shown)).is_valid(reply)


def test_replies_have_the_keys_in_the_order_of_a_constrained_reply(lessons):
    for lesson in lessons:
        if not lesson.kind.startswith("scene_"):
            schema = request_schema(load_prompt(f"{lesson.kind.split('.')[0]}.v1").output_schema)
            assert list(json.loads(lesson.reply)) == list(schema["properties"])


def test_the_same_rows_are_scored_with_and_without_a_report(lessons):
    for axis in ("execution", "consistency"):
        with_report = [x for x in lessons if x.kind == f"edit_{axis}"]
        direct = [x for x in lessons if x.kind == f"judge_edit.{axis}"]
        # Of 80 rows, and of those that are scored under a rewritten instruction too.
        assert len(with_report) == len(direct) > 80
        for a, b in zip(with_report, direct, strict=True):
            assert a.reply == b.reply
            assert a.pictures == b.pictures
    planned = [json.loads(x.reply) for x in lessons if x.kind == "gen_score"]
    direct = [json.loads(x.reply) for x in lessons if x.kind == "judge_gen"]
    assert [(x["reasoning"], x["score"]) for x in planned] == [
        (x["reasoning"], x["score"]) for x in direct
    ]


def test_the_student_sees_neither_report_nor_checklist(lessons):
    for lesson in lessons:
        if lesson.kind.startswith("judge_"):
            assert "At a glance" not in lesson.text
            assert "c1 (" not in lesson.text


def test_before_any_score_no_lesson_holds_one():
    for lesson in lessons_of_groups(3, 0, phase="base", size=600):
        assert '"score"' not in lesson.reply
        assert '"verdict"' not in lesson.reply


def test_first_it_only_looks():
    assert {x.kind for x in lessons_of_groups(3, 0, phase="look", size=60)} == {"scene_caption"}


def test_the_mixture_scores_equally_often_both_ways():
    counts = Counter(lesson.kind for lesson in lessons_of_groups(3, 0, phase="judge", size=2000))
    assert counts["edit_execution"] == counts["judge_edit.execution"]
    assert counts["edit_consistency"] == counts["judge_edit.consistency"]
    assert counts["gen_score"] == counts["judge_gen"]
    assert len(counts) == 19
    assert {share.world for share in MIXTURE} == {"edit", "gen"}


def test_lessons_follow_from_seed_and_number_alone():
    one, two = (lessons_of_groups(3, 7, phase="judge", size=60) for _ in range(2))
    assert [(x.text, x.reply) for x in one] == [(x.text, x.reply) for x in two]
    assert [p.tobytes() for x in one for p in x.pictures] == [
        p.tobytes() for x in two for p in x.pictures
    ]
    other = lessons_of_groups(4, 7, phase="judge", size=60)
    assert [x.reply for x in one] != [x.reply for x in other]


def test_an_explanation_names_what_it_rests_on(lessons):
    for lesson in lessons:
        reply = {} if lesson.kind.startswith("scene_") else json.loads(lesson.reply)
        if lesson.kind.endswith("consistency") and "reasoning" in reply:
            kept = "Nothing else changed" in reply["reasoning"]
            assert kept == (reply["score"] == 5)
            assert ("almost entirely another" in reply["reasoning"]) == (reply["score"] == 1)
        if lesson.kind == "judge_gen":
            assert ("Everything that was asked for" in reply["reasoning"]) == (reply["score"] == 5)


def test_a_score_follows_from_its_explanation():
    scores = {}
    for lesson in every_lesson(6, 400, phase="judge"):
        if lesson.kind.startswith(("judge_edit.", "judge_gen")) and "only" not in lesson.kind:
            reply = json.loads(lesson.reply)
            scores.setdefault((lesson.kind, reply["reasoning"]), set()).add(reply["score"])
    assert len(scores) > 200
    assert {key: found for key, found in scores.items() if len(found) > 1} == {}


def test_what_became_of_a_wish_is_told_without_a_verdict(lessons):
    for lesson in lessons:
        if lesson.kind == "scene_follow" and lesson.text.endswith("execution."):
            assert " should " in lesson.reply or lesson.reply.startswith("There is no ")
            assert "as asked" not in lesson.reply
        if lesson.kind == "scene_check":
            assert lesson.reply.count(".") == lesson.reply.count(". ") + 1
            assert not {"yes", "partly", "no."} & set(lesson.reply.split())
    edits = [row.case for group in range(40) for row in make_group("edit", 3, group, unseen=False)]
    for edit in edits:
        told, judged = tell_outcomes(edit).split(". "), explain_execution(edit).split(". ")
        for what, reasoning in zip(told, judged, strict=True):
            assert reasoning.startswith(what.rstrip(".") + ": ")
        unasked = tell_unasked(edit)
        n = unasked.count("unasked.")
        assert n == len(unintended(edit.source, edit.edited, edit.requests)) or not n
        assert explain_consistency(edit).split(". ")[0].rstrip(".") in unasked


def test_a_scene_is_described_row_by_row():
    things = (
        Thing(key=1, shape="star", colour="red", size="small", pattern="plain", cell=0),
        Thing(key=2, shape="cross", colour="navy", size="medium", pattern="dotted", cell=4),
    )
    told = describe(Scene(background="mint", things=things))
    assert told == "mint background; top left small red star; centre dotted navy cross."


def test_two_scenes_are_compared_place_by_place():
    def star(colour, cell):
        return Thing(
            key=cell, shape="star", colour=colour, size="medium", pattern="plain", cell=cell
        )

    before = Scene(background="mint", things=(star("red", 0), star("blue", 1), star("gold", 8)))
    after = Scene(background="sky", things=(star("red", 0), star("navy", 1), star("gold", 4)))
    edit = Edit(source=before, requests=(), edited=after)
    assert changes_by_place(edit, all_places=False) == (
        "background other; top middle colour; centre new; bottom right gone."
    )
    untouched = Edit(source=before, requests=(), edited=before)
    assert changes_by_place(untouched, all_places=False) == "nothing."
    assert changes_by_place(edit) == (
        "background other; top left same; top middle colour; top right nothing; "
        "middle left nothing; centre new; middle right nothing; "
        "bottom left nothing; bottom middle nothing; bottom right gone."
    )


def test_a_report_has_significant_differences_at_a_glance_while_they_fit():
    def item(i, significant):
        return Difference(
            category="colour",
            subject=f"s{i}",
            before="red",
            after="blue",
            significant=significant,
            key=i,
        )

    found = [item(i, True) for i in range(8)] + [item(8, False)]
    obvious, detailed = split_report(found)
    assert [d["subject"] for d in obvious] == [f"s{i}" for i in range(6)]
    assert [d["subject"] for d in detailed] == ["s6", "s7", "s8"]


def test_a_report_that_a_judge_may_make_looks_like_any_other():
    made_up = missed = 0
    for i in range(400):
        (first, _) = make_group("edit", 4, i, unseen=False)
        true = differences(first.case.source, first.case.edited)
        report = _as_a_judge_may_report(first.case, Random(i))
        assert report == in_order(report)
        extra = [d for d in report if d not in true]
        made_up += bool(extra)
        missed += any(d not in report for d in true)
        keys = {d.key for d in report if d in true}
        assert not any(d.key in keys for d in extra)
        if any(d.category == "other" for d in report):
            assert len(report) == 1
    assert 10 < made_up < 60
    assert 10 < missed < 60


def test_a_comparison_names_the_wrong_word_and_where_the_right_one_stands(lessons):
    compared = [x for x in lessons if x.kind == "compare_rationales"]
    chosen = Counter(json.loads(x.reply)["better"] for x in compared)
    assert set(chosen) == {"first", "second", "neither"}
    assert chosen["neither"] < 0.3 * len(compared)
    for lesson in compared:
        reply = json.loads(lesson.reply)
        texts = {n: lesson.text.split(f"<{n}>")[1].split(f"</{n}>")[0] for n in ("first", "second")}
        for said in reply["reasoning"].rstrip(".").split("; "):
            name, wrong, right = re.fullmatch(
                r"[Tt]he (first|second) says (.+) where it should be (.+)", said
            ).groups()
            assert wrong in texts[name]
            assert wrong != right
            assert name != reply["better"]
        assert texts["first"] != texts["second"]


def test_a_rationale_is_made_false_by_one_word():
    said = "The top left red circle should be gone; it is still there: not as asked."
    found = {falsify(said, Random(i)) for i in range(60)}
    for text, wrong, right in found:
        assert text.replace(wrong, right) == said
    assert {right for _, _, right in found} == {"top left", "red", "circle"}
    assert falsify("Nothing else changed.", Random(1)) is None


def test_rows_are_scored_under_rewritten_instructions_by_their_new_truth(lessons):
    texts = {x.text.split("<instruction>")[1] for x in lessons if x.kind == "judge_edit.execution"}
    missing = [x for x in lessons if "There is no" in x.reply and x.kind.endswith("execution")]
    assert len(texts) > 80
    assert missing
    for lesson in missing:
        assert json.loads(lesson.reply)["score"] <= 3
