"""The truth of generated pictures, worked by hand: checklist, verdicts and score."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from shapeworld_cases import scene

from foundry.shapeworld.gen_pictures import picture_scene
from foundry.shapeworld.gen_prompts import random_wanted, wants_unseen, write_prompt
from foundry.shapeworld.gen_truth import (
    Absent,
    Group,
    Relation,
    Wanted,
    checklist,
    gen_score,
    verdict,
)
from foundry.shapeworld.scenes import HUES, are_near, is_unseen
from schemas import load_schema

CIRCLES = Group(shape="circle", count=2, colour="red", size="small")
STAR = Group(shape="star", count=1, colour="navy")
LEFT = Relation(shape="star", side="left", other="cross")
CROSS = Group(shape="cross", count=1, colour="green")
FULL = Wanted(
    groups=(CIRCLES, STAR, CROSS),
    relations=(LEFT,),
    absent=(Absent(shape="square"),),
)
RIGHT = scene(
    "mint",
    "small red circle top left",
    "small red circle bottom",
    "navy star left",
    "large green cross right",
)


def verdicts_of(wanted, picture):
    return [verdict(item, picture) for item in checklist(wanted)]


def score_of(wanted, picture):
    return gen_score(checklist(wanted), verdicts_of(wanted, picture))


def test_a_checklist_asks_for_each_requirement_once_subjects_first():
    items = [(i.kind, i.question, i.critical) for i in checklist(FULL)]
    assert items == [
        ("subject", "Are there circles?", True),
        ("subject", "Is there a star?", True),
        ("subject", "Is there a cross?", True),
        ("count", "Are there exactly two circles?", False),
        ("attribute", "Are the circles red?", True),
        ("attribute", "Are the circles small?", False),
        ("count", "Is there exactly one star?", False),
        ("attribute", "Is the star navy?", True),
        ("count", "Is there exactly one cross?", False),
        ("attribute", "Is the cross green?", True),
        ("relation", "Is the star left of the cross?", False),
        ("negative", "Is the picture free of squares?", False),
    ]


def item_of(kind, about, attribute=None):
    wanted = {
        Group: lambda: Wanted(groups=(about,)),
        Relation: lambda: Wanted(groups=(), relations=(about,)),
        Absent: lambda: Wanted(groups=(), absent=(about,)),
        str: lambda: Wanted(groups=(), background=about),
    }[type(about)]()
    return next(i for i in checklist(wanted) if (i.kind, i.attribute) == (kind, attribute))


@pytest.mark.parametrize(
    ("item", "picture", "expected"),
    [
        (item_of("subject", STAR), RIGHT, "yes"),
        (item_of("subject", STAR), scene("sky", "navy circle top"), "no"),
        (item_of("count", CIRCLES), RIGHT, "yes"),
        (item_of("count", CIRCLES), scene("sky", "red circle top"), "partly"),
        (
            item_of("count", CIRCLES),
            scene("sky", "red circle top", "red circle left", "navy circle right"),
            "partly",
        ),
        (item_of("count", CIRCLES), scene("sky", "red star top"), "no"),
        (item_of("count", STAR), scene("sky", "red circle top"), "no"),
        (
            item_of("count", CIRCLES),
            scene("sky", *[f"red circle {p}" for p in ("top", "left", "right", "bottom")]),
            "no",
        ),
        (item_of("attribute", CIRCLES, "colour"), RIGHT, "yes"),
        (
            item_of("attribute", CIRCLES, "colour"),
            scene("sky", "red circle top", "blue circle left"),
            "no",  # half of them plainly wrong
        ),
        (item_of("attribute", CIRCLES, "colour"), scene("sky", "crimson circle top"), "partly"),
        (
            item_of("attribute", CIRCLES, "colour"),
            scene("sky", "red circle top", "crimson circle left", "blue circle right"),
            "partly",
        ),
        (item_of("attribute", CIRCLES, "colour"), scene("sky", "blue circle top"), "no"),
        (item_of("attribute", CIRCLES, "colour"), scene("sky", "red star top"), "no"),
        (item_of("attribute", CIRCLES, "size"), RIGHT, "yes"),
        (
            item_of("attribute", CIRCLES, "size"),
            scene("sky", "small red circle top", "small red circle left", "red circle right"),
            "partly",
        ),
        (item_of("attribute", CIRCLES, "size"), scene("sky", "red circle top"), "no"),
        (item_of("relation", LEFT), RIGHT, "yes"),
        (item_of("relation", LEFT), scene("sky", "navy star top", "green cross bottom"), "no"),
        (item_of("relation", LEFT), scene("sky", "navy star right", "green cross left"), "no"),
        (item_of("relation", LEFT), scene("sky", "navy star left"), "no"),
        (
            item_of("relation", LEFT),
            scene("sky", "navy star left", "navy star right", "green cross centre"),
            "partly",
        ),
        (
            item_of("relation", Relation(shape="star", side="above", other="cross")),
            scene("sky", "navy star top right", "green cross left"),
            "yes",
        ),
        (
            item_of("relation", Relation(shape="star", side="below", other="cross")),
            scene("sky", "navy star top right", "green cross left"),
            "no",
        ),
        (item_of("composition", "mint"), RIGHT, "yes"),
        (item_of("composition", "mint"), scene("sky", "navy star top"), "no"),
        (item_of("negative", Absent(shape="square")), RIGHT, "yes"),
        (item_of("negative", Absent(shape="circle")), RIGHT, "no"),
        (item_of("negative", Absent(colour="red")), RIGHT, "no"),
        (item_of("negative", Absent(colour="crimson")), RIGHT, "partly"),
        (item_of("negative", Absent(colour="gold")), RIGHT, "yes"),
        (item_of("negative", Absent(shape="star", colour="red")), RIGHT, "yes"),
        (item_of("negative", Absent(shape="star", colour="navy")), RIGHT, "no"),
    ],
)
def test_the_verdict_of_an_item(item, picture, expected):
    assert verdict(item, picture) == expected


ONE = Wanted(groups=(STAR,))
TWO = Wanted(groups=(STAR, CROSS), background="mint")
THREE = Wanted(groups=(STAR, CROSS, CIRCLES))
STAR_AND_CROSS = ("navy star left", "green cross right")


@pytest.mark.parametrize(
    ("wanted", "picture", "score"),
    [
        (FULL, RIGHT, 5),
        (ONE, scene("sky", "large navy star top"), 5),
        (ONE, scene("sky", "navy star top", "red circle left"), 5),  # nobody minds
        (ONE, scene("sky", "blue star top"), 4),  # a near colour
        (ONE, scene("sky", "navy star top", "navy star left"), 4),
        (ONE, scene("sky", "red star top"), 3),  # the colour is plainly wrong
        (ONE, scene("sky", "red star top", "red star left"), 2),  # wrong colour and number
        (ONE, scene("sky", "navy circle top"), 1),
        (TWO, scene("mint", "green cross right"), 2),  # the main subject is missing
        (TWO, scene("mint", *STAR_AND_CROSS), 5),
        (TWO, scene("sky", *STAR_AND_CROSS), 4),
        (TWO, scene("sky", *STAR_AND_CROSS, "green cross top"), 4),
        (TWO, scene("sky", *STAR_AND_CROSS, "green cross top", "navy star top left"), 3),
        (TWO, scene("mint", "red star left", "green cross right"), 3),
        (TWO, scene("mint", "navy star left"), 3),  # one of two subjects
        (TWO, scene("mint", "red circle left"), 1),
        (THREE, scene("sky", "navy star left"), 2),  # one of three subjects
        (THREE, scene("sky", *STAR_AND_CROSS), 3),
        (THREE, scene("sky", *STAR_AND_CROSS, "small red circle top"), 4),
        (
            THREE,
            scene("sky", "red star top", "red star top left", "small red circle left"),
            2,  # the star is wrong, the cross is missing
        ),
    ],
)
def test_the_score_of_a_picture(wanted, picture, score):
    assert score_of(wanted, picture) == score


seeds = st.integers(0, 10**6)


@settings(max_examples=200, deadline=None)
@given(seeds, st.integers(1, 5))
def test_a_prompt_has_a_valid_checklist_and_a_picture_a_score(seed, score):
    dice = Random(seed)
    wanted = random_wanted(dice, unseen=True)
    items = checklist(wanted)
    reply = [{"kind": i.kind, "question": i.question, "critical": i.critical} for i in items]
    Draft202012Validator(load_schema("gen_checklist.v1")).validate({"items": reply})
    assert len({i["question"] for i in reply}) == len(reply)
    picture = picture_scene(dice, wanted, unseen=True, score=score)
    verdicts = verdicts_of(wanted, picture)
    assert set(verdicts) <= {"yes", "partly", "no"}
    assert 1 <= gen_score(items, verdicts) <= 5
    assert (gen_score(items, verdicts) == 5) == (set(verdicts) == {"yes"})


@settings(max_examples=200, deadline=None)
@given(seeds, st.data())
def test_a_better_verdict_never_lowers_the_score(seed, data):
    dice = Random(seed)
    wanted = random_wanted(dice, unseen=True)
    items = checklist(wanted)
    picture = picture_scene(dice, wanted, unseen=True, score=dice.randint(1, 4))
    verdicts = verdicts_of(wanted, picture)
    worse = [i for i, v in enumerate(verdicts) if v != "yes"]
    if not worse:
        return
    i = data.draw(st.sampled_from(worse))
    better = [*verdicts[:i], "yes", *verdicts[i + 1 :]]
    assert gen_score(items, better) >= gen_score(items, verdicts)


def test_a_prompt_reads_like_one():
    said = {write_prompt(FULL, Random(i)) for i in range(60)}
    start = "Two small red circles, a navy star and a green cross."
    assert f"{start} The star is left of the cross. No squares." in said
    none = Wanted(groups=(STAR,), absent=(Absent(colour="gold"),), background="mint")
    said = {write_prompt(none, Random(i)) for i in range(60)}
    assert "A picture of a navy star on a mint background. Nothing gold." in said


@settings(max_examples=200, deadline=None)
@given(seeds)
def test_nothing_that_is_asked_for_could_be_taken_for_what_must_not_be_there(seed):
    wanted = random_wanted(Random(seed), unseen=True)
    for absent in wanted.absent:
        if absent.colour and not absent.shape:
            assert not any(are_near(absent.colour, g.colour) for g in wanted.groups)
            assert absent.colour not in HUES.get(wanted.background, ())
        assert absent.shape not in {g.shape for g in wanted.groups}


@settings(max_examples=100, deadline=None)
@given(seeds)
def test_a_prompt_says_everything_that_is_wanted(seed):
    dice = Random(seed)
    wanted = random_wanted(dice, unseen=False)
    prompt = write_prompt(wanted, dice)
    for group in wanted.groups:
        assert group.shape in prompt
        assert group.colour in prompt
        assert group.size is None or group.size in prompt
    for absent in wanted.absent:
        assert (absent.shape or absent.colour) in prompt
    assert wanted.background is None or f"{wanted.background} background" in prompt
    for relation in wanted.relations:
        side = {"left": "left of", "right": "right of"}.get(relation.side, relation.side)
        assert f"The {relation.shape} is {side} the {relation.other}." in prompt
    assert "None" not in prompt
    assert not is_unseen(picture_scene(dice, wanted, unseen=False, score=3))


def test_prompts_of_training_never_name_what_is_held_out():
    dice = Random(4)
    assert not any(wants_unseen(random_wanted(dice, unseen=False)) for _ in range(1500))
    asked = [random_wanted(dice, unseen=True) for _ in range(1500)]
    assert any(wants_unseen(replace(wanted, groups=())) for wanted in asked)
