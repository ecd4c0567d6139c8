"""Instructions read back, and rewritten so that a finished edit follows them in part or not."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapeworld_cases import ALIKE, BASE, after

from foundry.shapeworld.edit_truth import consistency_score, execution_score
from foundry.shapeworld.edits import Edit, random_edit
from foundry.shapeworld.instructions import (
    Demand,
    Named,
    UnreadInstruction,
    read_demands,
    requests_of,
    write_demands,
    write_instruction,
)
from foundry.shapeworld.rationales import explain_execution
from foundry.shapeworld.rewriting import rewrite_demands
from foundry.shapeworld.scenes import random_scene
from pipelines.rendering import MISMATCHES

seeds = st.integers(0, 10**6)
scores = st.integers(1, 5)
kinds = st.sampled_from(sorted(MISMATCHES))


def some_edit(seed, execution, consistency):
    dice = Random(seed)
    source = random_scene(dice, unseen=True)
    edit = random_edit(dice, source, unseen=True, execution=execution, consistency=consistency)
    return edit, write_instruction(source, edit.requests, dice), dice


@settings(max_examples=200, deadline=None)
@given(seeds, scores, scores)
def test_an_instruction_read_back_is_what_was_asked(seed, execution, consistency):
    edit, instruction, _ = some_edit(seed, execution, consistency)
    assert requests_of(edit.source, edit.edited, read_demands(instruction)) == edit.requests


@settings(max_examples=300, deadline=None)
@given(seeds, scores, kinds)
def test_a_rewritten_instruction_can_be_read_and_asks_for_something_else(seed, execution, kind):
    _, instruction, dice = some_edit(seed, execution, 5)
    demands = read_demands(instruction)
    rewritten = rewrite_demands(demands, kind, dice)
    assert rewritten != demands
    assert read_demands(write_demands(rewritten, dice)) == rewritten
    changed = [(a, b) for a, b in zip(demands, rewritten, strict=False) if a != b]
    match kind:
        case "extra_demand":
            assert rewritten[:-1] == demands
        case "other_attribute":
            ((was, now),) = changed
            assert now.old == was.old
        case "other_object":
            # Another thing is named in every sentence, whatever is to become of it.
            assert len(changed) == len(demands) == len(rewritten)
            for was, now in changed:
                named = [(d.old.shape, d.old.colour) if d.old else d.shape for d in (was, now)]
                assert named[0] != named[1]
        case "opposite_action":
            swapped = {"add": "remove", "remove": "add"}
            for was, now in zip(demands, rewritten, strict=True):
                # What colours all of a shape had, and what the background was, nobody has said.
                if was.kind != "background" and (was.kind != "recolour" or was.old.colour):
                    assert now.kind == swapped.get(was.kind, was.kind)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Make it nicer.",
        "Make the red circle sky.",
        "Remove the red circle",
        "Remove all red circles.",
        "Remove the red circle. And more.",
        "Move the red circle to the left.",
    ],
)
def test_what_this_world_would_not_write_is_not_guessed_at(text):
    with pytest.raises(UnreadInstruction):
        read_demands(text)


def test_a_named_thing_that_is_not_there_is_level_1():
    demands = read_demands("Make the grey star blue.")
    assert demands == [Demand(kind="recolour", old=Named(shape="star", colour="grey"), to="blue")]
    (asked,) = requests_of(BASE, BASE, demands)
    assert (asked.targets, asked.missing) == ((), "grey star")
    edited = after(BASE, remove=[0])
    assert execution_score(BASE, edited, [asked]) == 1
    # Nobody asked for the circle to go.
    assert consistency_score(BASE, edited, [asked]) == 4
    told = explain_execution(Edit(source=BASE, requests=(asked,), edited=edited))
    assert told == "There is no grey star: not as asked."
    nothing = requests_of(BASE, BASE, read_demands("Erase all triangles."))
    assert (nothing[0].missing, execution_score(BASE, BASE, nothing)) == ("triangle", 1)


def test_of_several_that_the_words_fit_the_one_that_came_out_best_is_meant():
    demands = read_demands("Make the red circle navy.")
    for key, twin in ((0, 1), (1, 0)):
        edited = after(ALIKE, **{f"t{key}": {"colour": "blue"}, f"t{twin}": {"colour": "grey"}})
        (asked,) = requests_of(ALIKE, edited, demands)
        assert asked.targets == (key,)
        assert execution_score(ALIKE, edited, [asked]) == 4
    placed = read_demands("Make the red circle at the middle right navy.")
    assert requests_of(ALIKE, ALIKE, placed)[0].targets == (1,)
    # In order of their places.
    every = read_demands("Make all circles navy.")
    assert requests_of(ALIKE, ALIKE, every)[0].targets == (2, 0, 1)


@pytest.mark.parametrize(
    ("instruction", "opposite"),
    [
        ("Add a small red star at the top left.", "Remove the red star."),
        ("Remove the grey cross.", "Add a grey cross."),
        ("Replace the red star with a grey cross.", "Replace the grey cross with a red star."),
        ("Make the red star lime.", "Make the lime star red."),
        ("Make the red star large.", "Make the red star small."),
        ("Move the red star to the top left.", "Move the red star to the bottom right."),
    ],
)
def test_opposites_worked_by_hand(instruction, opposite):
    found = rewrite_demands(read_demands(instruction), "opposite_action", Random(1))
    assert found == read_demands(opposite)


def test_a_kind_that_is_none_is_no_rewriting():
    with pytest.raises(KeyError):
        rewrite_demands(read_demands("Remove the grey cross."), "nonsense", Random(1))
