"""What the judge in training is told at the words of a text, on cases worked by hand."""

import pytest
from shapeworld_cases import after, scene

from foundry.shapeworld.edit_truth import Request
from foundry.shapeworld.edits import Edit
from foundry.shapeworld.gen_truth import Absent, Group, Relation, Wanted
from foundry.shapeworld.instructions import UnreadInstruction
from foundry.shapeworld.mixture import every_lesson
from foundry.shapeworld.rows import Made
from foundry.shapeworld.wishes import wishes_of_instruction, wishes_of_prompt

WANTED = Wanted(
    groups=(
        Group(shape="circle", count=2, colour="red"),
        Group(shape="star", count=1, colour="navy", size="large"),
        Group(shape="cross", count=1, colour="lime"),
    ),
    relations=(Relation(shape="star", side="left", other="cross"),),
    absent=(Absent(shape="square", colour="red"),),
    background="sky",
)
PROMPT = (
    "Two red circles, a large navy star and a lime cross on a sky background. "
    "The star is left of the cross. No red squares."
)
SCENE = scene(
    "white", "red circle top left", "crimson circle top middle", "red circle top right",
    "large navy star bottom left", "red square bottom right",
)  # fmt: skip


def by_words(found, text):
    return [(" ".join(text[:end].split()[-2:]), words) for end, words in found]


def test_each_wish_of_a_prompt_is_told_where_its_words_end():
    found = wishes_of_prompt(Made(wanted=WANTED, scene=SCENE), PROMPT)
    assert by_words(found, PROMPT) == [
        # One too many, and one of them of a near colour: no worse than partly.
        ("red circles", ("partly", "three", "red", "crimson")),
        ("navy star", ("yes", "one", "navy")),
        ("lime cross", ("no",)),
        ("sky background", ("no",)),
        ("the cross", ("no",)),
        ("red squares", ("no",)),
    ]


def test_each_request_is_told_where_its_thing_is_and_how_it_came_out():
    source = scene("white", "red circle top left", "navy star centre", "lime star top right")
    edited = after(source, t0={"colour": "navy"}, remove=(1,))
    requests = (
        Request(kind="recolour", targets=(0,), to="blue"),
        Request(kind="remove", targets=(1, 2)),
        Request(kind="move", missing="gold cross", to="centre"),
        Request(kind="background", to="sky"),
    )
    text = (
        "Make the red circle blue. Erase all stars. Shift the gold cross to the centre. "
        "Make the background sky."
    )
    found = wishes_of_instruction(Edit(source=source, requests=requests, edited=edited), text)
    assert by_words(found, text) == [
        ("red circle", ("top", "left", "colour")),
        ("circle blue", ("four",)),
        # Where both end at one word, both are told there.
        ("all stars", ("centre", "gone", "top", "right", "same", "five", "one")),
        ("gold cross", ("nothing",)),
        ("the centre", ("one",)),
        ("background sky", ("one",)),
    ]


def test_a_text_that_asks_for_something_else_is_refused():
    edit = Edit(source=SCENE, requests=(Request(kind="background", to="sky"),), edited=SCENE)
    with pytest.raises(UnreadInstruction):
        wishes_of_instruction(edit, "Make it better.")
    with pytest.raises(ValueError, match="nothing asks for"):
        wishes_of_prompt(Made(wanted=WANTED, scene=SCENE), "Two red circles.")


def test_every_lesson_that_shows_pictures_and_its_rows_text_has_wishes():
    for lesson in every_lesson(5, 6, phase="judge"):
        asks = lesson.kind.startswith(
            ("judge_", "gen_score", "edit_exec", "edit_cons", "compare_r")
        )
        assert bool(lesson.told_at) or not asks
        assert not lesson.told_at or lesson.pictures
