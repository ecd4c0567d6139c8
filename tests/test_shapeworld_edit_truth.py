"""The truth of edits, worked by hand: differences, execution and consistency."""

import pytest
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

from foundry.shapeworld.differences import differences
from foundry.shapeworld.edit_truth import consistency_score, execution_score, unintended


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
    assert execution_score(ALIKE, edited, [ALL_GOLD]) == score


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
