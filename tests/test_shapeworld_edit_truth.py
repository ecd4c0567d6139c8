"""The truth of edits, worked by hand: differences, execution and consistency."""

from itertools import combinations, permutations
from random import Random

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from shapeworld_cases import after, scene

from foundry.shapeworld.changes import Canvas, disturb, is_ambiguous
from foundry.shapeworld.differences import all_differences, differences
from foundry.shapeworld.edit_truth import (
    Request,
    consistency_score,
    execution_score,
    unintended,
)
from foundry.shapeworld.edits import random_edit, random_requests
from foundry.shapeworld.instructions import asks_for_unseen, write_instruction
from foundry.shapeworld.scenes import COLOURS, PLACES, Scene, are_near, is_unseen, random_scene
from foundry.shapeworld.wording import name_thing
from schemas import load_schema

BASE = scene(
    "white",
    "red circle top left",
    "small green star top",
    "large blue square centre",
    "striped navy cross bottom",
    "gold diamond bottom right",
)
ALIKE = scene(
    "sky", "red circle left", "small red circle right", "blue circle top", "grey star bottom"
)


def kinds(edited, source=BASE):
    return [(d.category, d.significant) for d in differences(source, edited)]


@pytest.mark.parametrize(
    ("edited", "expected"),
    [
        (BASE, []),
        (after(BASE, background="mint"), [("background", True)]),
        (after(BASE, remove=[1]), [("presence", True)]),
        (after(BASE, add=["lime cross left"]), [("presence", True)]),
        (after(BASE, t0={"colour": "blue"}), [("colour", True)]),
        (after(BASE, t0={"colour": "crimson"}), [("colour", False)]),
        (after(BASE, t1={"size": "medium"}), [("size", False)]),
        (after(BASE, t1={"size": "large"}), [("size", True)]),
        (after(BASE, t3={"pattern": "plain"}), [("texture", False)]),
        (after(BASE, t4={"cell": 5}), [("position", False)]),
        (after(BASE, t4={"cell": 3}), [("position", True)]),
        (after(BASE, t0={"shape": "star"}), [("shape", True)]),
        # Another shape is another thing: the rest of its look is not counted again.
        (after(BASE, t0="large dotted lime star top left"), [("shape", True)]),
        # Leaning behind a neighbour is occlusion, no difference.
        (after(BASE, t1={"lean": 0}), []),
        (
            after(BASE, t0={"colour": "crimson"}, t2={"size": "small"}),
            [("size", True), ("colour", False)],
        ),
        (after(BASE, remove=[0, 1, 2], background="mint"), [("other", True)]),
        # Another background alone, or other things alone, is not another picture.
        (after(BASE, remove=[0, 1, 2]), [("presence", True)] * 3),
        (
            after(BASE, t0={"colour": "grey"}, t1={"colour": "grey"}, background="mint"),
            [("background", True), ("colour", True), ("colour", True)],
        ),
    ],
)
def test_each_change_is_one_difference_of_its_kind(edited, expected):
    assert kinds(edited) == expected


def test_a_difference_reads_like_a_report():
    edited = after(BASE, remove=[1], add=["large red circle right"], t4={"cell": 7 - 1})
    found = [(d.subject, d.before, d.after) for d in differences(BASE, edited)]
    assert found == [
        ("top middle green star", "small green star", "absent"),
        ("middle right red circle", "absent", "large red circle"),
        ("bottom right gold diamond", "bottom right", "bottom left"),
    ]


def request(kind, *targets, **asked):
    return Request(kind=kind, targets=targets, **asked)


RECOLOUR = request("recolour", 0, to="green")
RESIZE = request("resize", 1, to="large")
MOVE = request("move", 4, to="middle left")
ADD = request("add", shape="star", colour="purple", size="small", place="middle right")
ADD_ANY = request("add", shape="star", colour="purple")
REPLACE = request("replace", 2, shape="triangle", colour="lime")
REMOVE = request("remove", 3)
BACKGROUND = request("background", to="mint")
ALL_RED = request("recolour", 0, 1, 2, to="gold")
PURPLE_STAR = "small purple star right"


@pytest.mark.parametrize(
    ("asked", "edited", "score"),
    [
        (RECOLOUR, after(BASE, t0={"colour": "green"}), 5),
        (RECOLOUR, after(BASE, t0={"colour": "lime"}), 4),
        (RECOLOUR, after(BASE, t0={"colour": "blue"}), 2),
        (RECOLOUR, BASE, 1),
        (RECOLOUR, after(BASE, remove=[0]), 1),
        (RECOLOUR, after(BASE, t2={"colour": "green"}), 1),
        # Whatever else changes is no matter of execution.
        (RECOLOUR, after(BASE, t0={"colour": "green"}, remove=[1, 2], background="mint"), 5),
        (RESIZE, after(BASE, t1={"size": "large"}), 5),
        (RESIZE, after(BASE, t1={"size": "medium"}), 3),
        (request("resize", 2, to="medium"), after(BASE, t2={"size": "small"}), 3),
        (request("resize", 0, to="large"), after(BASE, t0={"size": "small"}), 1),
        (RESIZE, BASE, 1),
        (MOVE, after(BASE, t4={"cell": 3}), 5),
        (MOVE, after(BASE, t4={"cell": 6}), 3),
        (MOVE, after(BASE, t4={"cell": 5}), 2),
        (MOVE, BASE, 1),
        (ADD, after(BASE, add=[PURPLE_STAR]), 5),
        (ADD, after(BASE, add=["small violet star right"]), 4),
        (ADD, after(BASE, add=["purple star right"]), 4),
        # Two slight misses weigh as much as a plain one; so does a size two steps off.
        (ADD, after(BASE, add=["violet star right"]), 3),
        (ADD, after(BASE, add=["large purple star right"]), 3),
        (ADD, after(BASE, add=["large violet star right"]), 3),
        (ADD, after(BASE, add=["small purple star left"]), 3),
        (ADD, after(BASE, add=["small purple cross right"]), 3),
        (ADD, after(BASE, add=["small lime star right"]), 3),
        (ADD, after(BASE, add=["small lime cross right"]), 2),
        (ADD, BASE, 1),
        # What is not said may be anything; of several new things the likest counts.
        (ADD_ANY, after(BASE, add=["large dotted purple star left"]), 5),
        (ADD, after(BASE, add=["lime cross left", PURPLE_STAR]), 5),
        (REPLACE, after(BASE, t2="small lime triangle centre"), 5),
        (REPLACE, after(BASE, t2="green triangle centre"), 4),
        (REPLACE, after(BASE, t2="blue triangle centre"), 3),
        (REPLACE, after(BASE, t2="lime square centre"), 3),
        (REPLACE, after(BASE, t2="red star centre"), 2),
        (REPLACE, after(BASE, remove=[2]), 2),
        (REPLACE, BASE, 1),
        (REMOVE, after(BASE, remove=[3]), 5),
        (REMOVE, after(BASE, t3={"size": "small"}), 1),
        (BACKGROUND, after(BASE, background="mint"), 5),
        (BACKGROUND, after(BASE, background="sky"), 2),
        (BACKGROUND, BASE, 1),
    ],
)
def test_execution_of_one_request(asked, edited, score):
    assert execution_score(BASE, edited, [asked]) == score


@pytest.mark.parametrize(
    ("edited", "score"),
    [
        (after(ALIKE, **{f"t{i}": {"colour": "gold"} for i in (0, 1, 2)}), 5),
        (after(ALIKE, t0={"colour": "gold"}, t1={"colour": "orange"}, t2={"colour": "gold"}), 4),
        (after(ALIKE, t0={"colour": "gold"}, t1={"colour": "gold"}), 3),
        (after(ALIKE, t0={"colour": "gold"}), 2),
        (ALIKE, 1),
    ],
)
def test_execution_of_a_request_for_several(edited, score):
    assert execution_score(ALIKE, edited, [ALL_RED]) == score


@pytest.mark.parametrize(
    ("edited", "score"),
    [
        (after(BASE, t0={"colour": "green"}, remove=[3]), 5),
        (after(BASE, t0={"colour": "lime"}, remove=[3]), 4),
        (after(BASE, remove=[3]), 3),
        (after(BASE, t0={"colour": "green"}), 3),
        (after(BASE, t0={"colour": "blue"}), 2),
        (BASE, 1),
    ],
)
def test_execution_of_two_requests(edited, score):
    assert execution_score(BASE, edited, [RECOLOUR, REMOVE]) == score


def test_two_added_things_are_not_counted_for_one():
    two = [ADD_ANY, request("add", shape="star", colour="purple")]
    assert execution_score(BASE, after(BASE, add=[PURPLE_STAR]), two) == 3
    both = after(BASE, add=[PURPLE_STAR, "purple star left"])
    assert execution_score(BASE, both, two) == 5
    assert unintended(BASE, both, two) == []
    assert len(unintended(BASE, both, two[:1])) == 1


DONE = {"t0": {"colour": "green"}}


@pytest.mark.parametrize(
    ("edited", "score"),
    [
        (BASE, 5),
        (after(BASE, **DONE), 5),
        (after(BASE, t0={"colour": "blue"}), 5),  # wrongly done is execution's matter
        (after(BASE, **DONE, remove=[1]), 4),
        (after(BASE, **DONE, t3={"pattern": "plain"}), 4),
        (after(BASE, **DONE, t3={"pattern": "plain"}, t4={"cell": 5}), 4),
        (after(BASE, **DONE, remove=[1], t3={"pattern": "plain"}, t4={"cell": 5}), 4),
        (after(BASE, **DONE, remove=[1], add=["lime cross left"]), 3),
        (after(BASE, **DONE, remove=[1, 2], add=["lime cross left"]), 3),
        (
            after(BASE, **DONE, t3={"pattern": "plain"}, t4={"cell": 5}, t1={"size": "medium"}),
            3,
        ),
        (after(BASE, **DONE, remove=[1, 2], add=["lime cross left", "grey star right"]), 2),
        (
            after(
                BASE,
                t0={"colour": "green", "size": "large"},
                t1={"size": "medium"},
                t2={"size": "medium"},
                t3={"pattern": "plain"},
                t4={"cell": 5},
            ),
            2,
        ),
        # A further attribute of the thing whose colour was to change counts.
        (after(BASE, t0={"colour": "green", "size": "large"}), 4),
        (after(BASE, t0={"colour": "green", "cell": 5}), 4),
        # The thing itself gone is not a change of its colour.
        (after(BASE, remove=[0]), 4),
        (after(BASE, **DONE, background="mint"), 4),
        # Almost entirely another picture: the background and most of the things that nobody named.
        (after(BASE, **DONE, background="mint", remove=[1, 2], t3={"shape": "star"}), 1),
        (after(BASE, **DONE, background="mint", remove=[1, 2]), 3),
        (after(BASE, t0={"shape": "star"}, background="mint", remove=[1, 2]), 1),
        (after(BASE, **DONE, remove=[1, 2, 3, 4]), 2),
        # Only occlusion changed.
        (after(BASE, **DONE, t1={"lean": 0}), 5),
    ],
)
def test_consistency_when_one_thing_was_to_be_recoloured(edited, score):
    assert consistency_score(BASE, edited, [RECOLOUR]) == score


@pytest.mark.parametrize(
    ("asked", "edited", "score"),
    [
        (REPLACE, after(BASE, t2="small dotted lime triangle left"), 5),
        (REPLACE, after(BASE, remove=[2]), 5),
        (ADD, after(BASE, add=["lime cross left"]), 5),
        (ADD, after(BASE, add=["lime cross left", PURPLE_STAR]), 4),
        (REMOVE, after(BASE, remove=[3]), 5),
        (REMOVE, after(BASE, t3={"size": "small"}), 4),
        (BACKGROUND, after(BASE, background="sky"), 5),
        # A background that was asked for makes no other picture.
        (BACKGROUND, after(BASE, background="mint", remove=[0, 1, 2]), 3),
        (MOVE, after(BASE, t4={"cell": 6}), 5),
        (RESIZE, after(BASE, t1={"size": "medium", "colour": "lime"}), 4),
    ],
)
def test_consistency_exempts_what_was_asked_and_no_more(asked, edited, score):
    assert consistency_score(BASE, edited, [asked]) == score


seeds = st.integers(0, 10**6)
scores = st.integers(1, 5)


def some_edit(seed, execution=3, consistency=3, *, unseen=True):
    dice = Random(seed)
    source = random_scene(dice, unseen=unseen)
    return random_edit(
        dice, source, unseen=unseen, execution=execution, consistency=consistency
    ), dice


@settings(max_examples=150, deadline=None)
@given(seeds)
def test_an_untouched_picture_is_execution_1_and_consistency_5(seed):
    dice = Random(seed)
    source = random_scene(dice, unseen=True)
    requests = random_requests(dice, source, unseen=True)
    assert execution_score(source, source, requests) == 1
    assert consistency_score(source, source, requests) == 5
    assert differences(source, source) == []


@settings(max_examples=150, deadline=None)
@given(seeds, scores, scores)
def test_one_more_unintended_change_never_raises_consistency(seed, execution, consistency):
    edit, dice = some_edit(seed, execution, consistency)
    canvas = Canvas(edit.source, dice, unseen=True)
    canvas.things, canvas.background = edit.edited.by_key(), edit.edited.background
    canvas.touched = {key for r in edit.requests for key in r.targets}
    canvas.touched |= {
        d.key for d in all_differences(edit.source, edit.edited) if d.key is not None
    }
    disturb(canvas, *dice.choice(((1, 0), (0, 1), (1, 1))))
    worse = Scene(background=canvas.background, things=tuple(canvas.things.values()))
    assume(
        set(worse.things) != set(edit.edited.things) or worse.background != edit.edited.background
    )
    before = consistency_score(edit.source, edit.edited, edit.requests)
    assert consistency_score(edit.source, worse, edit.requests) <= before


@settings(max_examples=150, deadline=None)
@given(seeds, scores, scores)
def test_an_edit_has_scores_in_range_and_a_report_that_fits_the_schema(
    seed, execution, consistency
):
    edit, dice = some_edit(seed, execution, consistency)
    assert 1 <= execution_score(edit.source, edit.edited, edit.requests) <= 5
    assert 1 <= consistency_score(edit.source, edit.edited, edit.requests) <= 5
    fields = load_schema("edit_differences.v1")["properties"]["obvious"]["items"]["properties"]
    items = differences(edit.source, edit.edited)
    assert len(items) <= 16
    for item in items:
        assert item.category in fields["category"]["enum"]
        for name in ("subject", "before", "after"):
            assert 1 <= len(getattr(item, name)) <= fields[name]["maxLength"]
    text = write_instruction(edit.source, edit.requests, dice)
    assert 5 < len(text) < 200
    assert "None" not in text


@pytest.mark.parametrize(
    ("edited", "ambiguous"),
    [
        # Moved, or taken away and another put there? No picture tells.
        (after(ALIKE, remove=[2], add=["blue circle bottom left"]), True),
        (after(ALIKE, remove=[2], add=["navy circle bottom left"]), True),
        (after(ALIKE, remove=[0], t1={"cell": 6}), True),
        (after(ALIKE, t0={"cell": 6}), False),
        (after(ALIKE, remove=[0, 1]), False),
        (after(ALIKE, remove=[2], add=["green circle bottom left"]), True),
        (after(ALIKE, remove=[2], add=["blue square bottom left"]), False),
        (after(ALIKE, t2={"colour": "red"}, t3={"cell": 6}), False),
    ],
)
def test_an_edit_that_can_be_read_in_two_ways_is_not_made(edited, ambiguous):
    assert is_ambiguous(ALIKE, edited) == ambiguous


@settings(max_examples=80, deadline=None)
@given(seeds, scores, scores)
@example(57, 3, 5)
@example(417, 3, 5)
def test_no_other_reading_of_an_edit_needs_fewer_differences(seed, execution, consistency):
    """Which thing became which is not written on a picture: the truth is the shortest story."""
    edit, _ = some_edit(seed, execution, consistency)
    if len(edit.source.things) > 5 or len(edit.edited.things) > 5:
        return
    told = len(all_differences(edit.source, edit.edited))
    assert told <= min(len(story) for story in other_stories(edit.source, edit.edited))


def other_stories(source, edited):
    """The differences under every way of saying which thing became which."""
    keys = [t.key for t in source.things]
    fresh = [1000 + i for i in range(len(edited.things))]
    for kept in range(min(len(keys), len(edited.things)) + 1):
        for chosen in combinations(keys, kept):
            for order in permutations([*chosen, *fresh[: len(edited.things) - kept]]):
                things = [
                    type(t)(**{**vars(t), "key": k})
                    for t, k in zip(edited.things, order, strict=True)
                ]
                yield all_differences(
                    source, Scene(background=edited.background, things=tuple(things))
                )


@settings(max_examples=200, deadline=None)
@given(seeds, scores, scores)
def test_the_words_mean_the_targets_and_nothing_else(seed, execution, consistency):
    """What a group or a thing is called fits the targets alone, before and, if removed, after."""
    edit, _ = some_edit(seed, execution, consistency)
    for asked in edit.requests:
        targets = {edit.source.by_key()[key] for key in asked.targets}
        if len(targets) > 1:
            shapes = {t.shape for t in targets}
            assert {t for t in edit.source.things if t.shape in shapes} == targets
            new = [t for t in edit.edited.things if t.key not in asked.targets]
            assert not [t for t in new if t.shape in shapes]
        elif targets:
            (target,) = targets
            name = name_thing(target, edit.source)
            assert [t for t in edit.source.things if name_thing(t, edit.source) == name] == [target]
            if asked.kind == "remove" and execution_score(edit.source, edit.edited, [asked]) == 5:
                left = [name_thing(t, edit.edited) for t in edit.edited.things]
                assert name not in left or "at the" in name


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (RECOLOUR, {"Make the red circle green.", "Paint the red circle green."}),
        (RESIZE, {"Make the green star large."}),
        (MOVE, {"Move the gold diamond to the middle left."}),
        (ADD, {"Add a small purple star at the middle right."}),
        (ADD_ANY, {"Add a purple star.", "Draw a purple star."}),
        (REPLACE, {"Replace the blue square with a lime triangle."}),
        (REMOVE, {"Remove the navy cross.", "Erase the navy cross."}),
        (BACKGROUND, {"Make the background mint."}),
    ],
)
def test_an_instruction_says_what_is_asked(asked, text):
    said = {write_instruction(BASE, [asked], Random(i)) for i in range(40)}
    assert text <= said


def test_an_instruction_for_several_names_their_shape_and_twins_their_places():
    said = {write_instruction(ALIKE, [ALL_RED], Random(i)) for i in range(20)}
    assert "Paint all circles gold." in said
    one = {write_instruction(ALIKE, [request("remove", 1)], Random(i)) for i in range(20)}
    assert "Remove the red circle at the middle right." in one


@settings(max_examples=60, deadline=None)
@given(seeds, scores, scores)
def test_held_out_combinations_are_drawn_only_when_asked_for(seed, execution, consistency):
    edit, _ = some_edit(seed, execution, consistency, unseen=False)
    assert not is_unseen(edit.source)
    assert not is_unseen(edit.edited)


def test_colours_come_in_near_pairs_and_places_in_nine():
    assert len(PLACES) == 9
    for colour in COLOURS:
        assert sum(are_near(colour, other) for other in COLOURS) == 2


def test_what_goes_wrong_besides_may_hit_the_very_thing_that_was_named():
    attribute = {"recolour": "colour", "resize": "size", "move": "cell"}
    gone = changed = 0
    for seed in range(1000):
        edit, _ = some_edit(seed, 1 + seed % 5, 1 + seed // 5 % 5)
        before, after = edit.source.by_key(), edit.edited.by_key()
        for request in edit.requests:
            if request.kind not in attribute:
                continue
            others = {"shape", "colour", "size", "pattern", "cell"} - {attribute[request.kind]}
            for key in request.targets:
                gone += key not in after
                changed += key in after and any(
                    getattr(before[key], name) != getattr(after[key], name) for name in others
                )
    assert gone > 0
    assert changed > 50


def test_an_instruction_may_ask_for_what_was_never_trained_on():
    assert asks_for_unseen(BASE, [request("recolour", 0, to="gold")])
    assert not asks_for_unseen(BASE, [request("recolour", 0, to="green")])
    assert asks_for_unseen(BASE, [request("add", shape="star", colour="green")])
    assert asks_for_unseen(BASE, [request("replace", 2, shape="cross", colour="black")])
    assert not asks_for_unseen(BASE, [request("remove", 0), request("background", to="mint")])
    dice = Random(1)
    for _ in range(400):
        source = random_scene(dice, unseen=False)
        assert not asks_for_unseen(source, random_requests(dice, source, unseen=False))
