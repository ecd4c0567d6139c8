"""Edits as they are drawn and put into words: what holds of every one."""

from itertools import combinations, permutations
from random import Random

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from shapeworld_cases import (
    ADD,
    ADD_ANY,
    ALIKE,
    ALL_GOLD,
    BACKGROUND,
    BASE,
    MOVE,
    RECOLOUR,
    REMOVE,
    REPLACE,
    RESIZE,
    after,
    request,
)

from foundry.shapeworld.changes import Canvas, disturb, is_ambiguous
from foundry.shapeworld.differences import all_differences, differences
from foundry.shapeworld.edit_truth import consistency_score, execution_score
from foundry.shapeworld.edits import random_edit, random_requests
from foundry.shapeworld.instructions import asks_for_unseen, write_instruction
from foundry.shapeworld.scenes import COLOURS, PLACES, Scene, are_near, is_unseen, random_scene
from foundry.shapeworld.wording import shortest_name
from schemas import load_schema

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
            name = (shortest_name(target, edit.source), target.shape)
            assert [
                t for t in edit.source.things if (shortest_name(t, edit.source), t.shape) == name
            ] == [target]
            if asked.kind == "remove" and execution_score(edit.source, edit.edited, [asked]) == 5:
                left = [(shortest_name(t, edit.edited), t.shape) for t in edit.edited.things]
                assert name not in left or name[0][1]


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
    said = {write_instruction(ALIKE, [ALL_GOLD], Random(i)) for i in range(20)}
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
        for asked in edit.requests:
            if asked.kind not in attribute:
                continue
            others = {"shape", "colour", "size", "pattern", "cell"} - {attribute[asked.kind]}
            for key in asked.targets:
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
