"""Rationales and evidence, against cases worked by hand."""

import pytest

from foundry.shapeworld.edit_truth import Request
from foundry.shapeworld.edits import Edit
from foundry.shapeworld.gen_truth import (
    Absent,
    Group,
    Relation,
    Wanted,
    checklist,
    gen_score,
    verdict,
)
from foundry.shapeworld.rationales import (
    evidence,
    explain_consistency,
    explain_execution,
    explain_picture,
)
from foundry.shapeworld.scenes import Thing, make_scene


def thing(key, shape, colour, cell, size="medium", pattern="plain"):
    return Thing(key=key, shape=shape, colour=colour, size=size, pattern=pattern, cell=cell)


CIRCLE, STAR = thing(0, "circle", "red", 0), thing(1, "star", "blue", 4)


def edit(after, *requests, before=(CIRCLE, STAR), grounds=("white", "white")):
    source, edited = (
        make_scene(ground, list(things))
        for ground, things in zip(grounds, (before, after), strict=True)
    )
    return Edit(source=source, requests=requests, edited=edited)


RECOLOUR = Request(kind="recolour", targets=(0,), to="blue")


@pytest.mark.parametrize(
    ("after", "request_", "said"),
    [
        (
            (thing(0, "circle", "blue", 0), STAR),
            RECOLOUR,
            "The top left red circle should be blue; it is blue: as asked.",
        ),
        (
            (thing(0, "circle", "navy", 0), STAR),
            RECOLOUR,
            "The top left red circle should be blue; it is navy: very close to what was asked.",
        ),
        (
            (thing(0, "circle", "gold", 0), STAR),
            RECOLOUR,
            "The top left red circle should be blue; it is gold: hardly what was asked.",
        ),
        (
            (CIRCLE, STAR),
            RECOLOUR,
            "The top left red circle should be blue; it is still red: not as asked.",
        ),
        ((STAR,), RECOLOUR, "The top left red circle should be blue; it is gone: not as asked."),
        (
            (STAR,),
            Request(kind="remove", targets=(0,)),
            "The top left red circle should be gone; it is gone: as asked.",
        ),
        (
            (CIRCLE, STAR),
            Request(kind="remove", targets=(0,)),
            "The top left red circle should be gone; it is still there: not as asked.",
        ),
        (
            (thing(0, "circle", "red", 8), STAR),
            Request(kind="move", targets=(0,), to="bottom right"),
            "The top left red circle should be at the bottom right; "
            "it is at the bottom right: as asked.",
        ),
        (
            (CIRCLE, STAR, thing(2, "cross", "gold", 8)),
            Request(kind="add", shape="cross", colour="gold"),
            "A gold cross should be added; a gold cross was: as asked.",
        ),
        (
            (CIRCLE, STAR),
            Request(kind="add", shape="cross", colour="gold"),
            "A gold cross should be added; nothing was: not as asked.",
        ),
        (
            (thing(0, "cross", "gold", 0), STAR),
            Request(kind="replace", targets=(0,), shape="cross", colour="gold"),
            "The top left red circle should become a gold cross; it became a gold cross: as asked.",
        ),
        (
            (CIRCLE, STAR, thing(2, "star", "gold", 8, size="medium")),
            Request(kind="add", shape="cross", colour="gold", size="large", place="centre"),
            "A large gold cross in the centre should be added; "
            "a medium gold star at the bottom right was, shape wrong, place wrong, size near: "
            "hardly what was asked.",
        ),
        (
            (thing(0, "cross", "orange", 0), STAR),
            Request(kind="replace", targets=(0,), shape="cross", colour="gold"),
            "The top left red circle should become a gold cross; "
            "it became an orange cross, colour near: very close to what was asked.",
        ),
        (
            (STAR,),
            Request(kind="replace", targets=(0,), shape="cross", colour="gold"),
            "The top left red circle should become a gold cross; "
            "it is gone: hardly what was asked.",
        ),
        (
            (CIRCLE, STAR),
            Request(kind="background", to="mint"),
            "The background should be mint; it is still white: not as asked.",
        ),
    ],
)
def test_an_execution_is_explained(after, request_, said):
    assert explain_execution(edit(after, request_)) == said


def test_several_targets_are_counted():
    before = (CIRCLE, thing(2, "circle", "gold", 8))
    after = (thing(0, "circle", "blue", 0), thing(2, "circle", "navy", 8))
    request = Request(kind="recolour", targets=(0, 2), to="blue")
    said = explain_execution(edit(after, request, before=before))
    assert said == (
        "The circles should be blue; one is blue, one is navy: one as asked, one nearly."
    )


def test_what_was_done_in_part_is_told_from_what_was_not_done():
    before = tuple(thing(i, "circle", "red", i, size="small") for i in range(3))
    sizes = ("large", "medium", "small")
    after = tuple(thing(i, "circle", "red", i, size=size) for i, size in enumerate(sizes))
    request = Request(kind="resize", targets=(0, 1, 2), to="large")
    said = explain_execution(edit(after, request, before=before))
    assert said == (
        "The circles should be large; one is large, one is medium, one is still small: "
        "one as asked, one only partly, one not at all."
    )


def test_unintended_changes_are_counted_and_the_first_significant_one_is_named():
    after = (
        thing(0, "circle", "crimson", 0),
        thing(1, "star", "gold", 4),
        thing(2, "cross", "gold", 8),
    )
    said = explain_consistency(
        edit(after, Request(kind="background", to="mint"), grounds=("white", "mint"))
    )
    assert said == (
        "The centre blue star changed its colour unasked. "
        "In all two significant and one minor unasked changes."
    )


def test_nothing_else_changed():
    assert explain_consistency(edit((thing(0, "circle", "blue", 0), STAR), RECOLOUR)) == (
        "Nothing else changed."
    )


WANTED = Wanted(
    groups=(
        Group(shape="circle", count=2, colour="red", size="small"),
        Group(shape="star", count=1, colour="blue"),
    ),
    relations=(Relation(shape="star", side="above", other="circle"),),
    absent=(Absent(colour="gold"),),
    background="mint",
)


def explained(scene):
    items = checklist(WANTED)
    verdicts = [verdict(item, scene) for item in items]
    score = gen_score(items, verdicts)
    return explain_picture(items, verdicts, score), score


def test_a_picture_is_explained_by_its_worst_point():
    circles = [thing(i, "circle", "red", 6 + i, size="small") for i in range(2)]
    right = make_scene("mint", [*circles, thing(5, "star", "blue", 1)])
    assert explained(right) == ("Everything that was asked for is there and right.", 5)
    gold = make_scene("mint", [*circles, thing(5, "star", "blue", 1), thing(6, "cross", "gold", 2)])
    assert explained(gold) == ("There is something gold. In all one requirement is not met.", 4)
    none = make_scene("mint", [thing(6, "cross", "lime", 2)])
    assert explained(none) == ("None of the things that were asked for is there.", 1)
    starless = make_scene("mint", circles)
    assert explained(starless)[0] == "There is no star. In all four requirements are not met."
    circleless = make_scene("mint", [thing(5, "star", "blue", 1)])
    assert explained(circleless)[0].startswith("The main subject is missing: there is no circle.")


def test_evidence_tells_what_decides_an_item():
    scene = make_scene(
        "cream",
        [
            thing(0, "circle", "red", 0, size="small"),
            thing(1, "circle", "crimson", 4),
            thing(2, "star", "blue", 8),
        ],
    )
    assert [evidence(item, scene) for item in checklist(WANTED)] == [
        "circles to be there; two circles",
        "star to be there; one star",
        "two circles to be there; two circles",
        "circles to be red; circles red, crimson near",
        "circles to be small; circles small, medium wrong",
        "one star to be there; one star",
        "star to be blue; star blue",
        "star to be above circle; star bottom, circle top and middle",
        "the background to be mint; it is cream",
        "nothing gold to be there; there is blue, crimson, red",
    ]


@pytest.mark.parametrize(
    ("absent", "said"),
    [
        (Absent(colour="red"), "nothing red to be there; there is blue, crimson near, red wrong"),
        (Absent(shape="circle"), "no circle to be there; circle crimson wrong, red wrong"),
        (Absent(shape="star", colour="navy"), "no navy star to be there; star blue near"),
        (Absent(shape="cross", colour="navy"), "no navy cross to be there; no cross"),
    ],
)
def test_evidence_tells_what_is_there_of_what_must_not_be(absent, said):
    scene = make_scene(
        "cream",
        [
            thing(0, "circle", "red", 0),
            thing(1, "circle", "crimson", 4),
            thing(2, "star", "blue", 8),
        ],
    )
    wanted = Wanted(groups=(Group(shape="circle", count=2, colour="red"),), absent=(absent,))
    assert evidence(checklist(wanted)[-1], scene) == said


def test_a_relation_across_is_told_by_columns():
    scene = make_scene("cream", [thing(0, "circle", "red", 3), thing(1, "star", "blue", 8)])
    wanted = Wanted(
        groups=(
            Group(shape="circle", count=1, colour="red"),
            Group(shape="star", count=1, colour="blue"),
        ),
        relations=(Relation(shape="circle", side="left", other="star"),),
    )
    assert evidence(checklist(wanted)[-1], scene) == (
        "circle to be left of star; circle left, star right"
    )
