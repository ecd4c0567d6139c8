"""What the judge in training is told at the words of a text, on cases worked by hand."""

import pytest
from shapeworld_cases import after, scene

from foundry.shapeworld.edit_truth import Request
from foundry.shapeworld.edits import Edit
from foundry.shapeworld.gen_truth import Absent, Group, Relation, Wanted
from foundry.shapeworld.hints import hints_of_instruction, hints_of_prompt
from foundry.shapeworld.instructions import UnreadInstruction
from foundry.shapeworld.mixture import every_lesson
from foundry.shapeworld.rows import Made
from foundry.shapeworld.scenes import PLACES

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
    """The last two words where something is told, what, and where: `1 top left` of a second."""
    return [
        (
            " ".join(text[: hint.at].split()[-2:]),
            hint.words,
            [f"{picture} {PLACES[cell]}" for picture, cell in hint.cells],
        )
        for hint in found
    ]


def test_each_wish_of_a_prompt_is_told_where_its_words_end():
    found = hints_of_prompt(Made(wanted=WANTED, scene=SCENE), PROMPT)
    assert by_words(found, PROMPT) == [
        # One too many, and one of them of a near colour: no worse than partly.
        (
            "red circles",
            ("partly", "three", "red", "crimson"),
            ["0 top left", "0 top middle", "0 top right"],
        ),
        ("navy star", ("yes", "one", "navy"), ["0 bottom left"]),
        ("lime cross", ("no",), []),
        ("sky background", ("no",), []),
        ("the cross", ("no",), []),
        ("red squares", ("no",), ["0 bottom right"]),
    ]


def test_an_absent_colour_is_looked_for_on_whatever_has_it_and_a_relation_on_its_other():
    wanted = Wanted(
        groups=(
            Group(shape="star", count=1, colour="navy"),
            Group(shape="square", count=1, colour="red"),
        ),
        relations=(Relation(shape="star", side="left", other="square"),),
        absent=(Absent(colour="crimson"),),
    )
    text = "A navy star and a red square. The star is left of the square. Nothing crimson."
    found = by_words(hints_of_prompt(Made(wanted=wanted, scene=SCENE), text), text)
    assert found[2:] == [
        ("the square", ("yes",), ["0 bottom right"]),
        ("Nothing crimson", ("no",), ["0 top middle"]),
    ]


def test_each_request_is_told_where_its_thing_is_and_how_it_came_out():
    source = scene("white", "red circle top left", "navy star centre", "lime star top right")
    edited = after(
        source, t0={"colour": "navy", "cell": 1}, remove=(1,), add=("lime square bottom right",)
    )
    requests = (
        Request(kind="recolour", targets=(0,), to="blue"),
        Request(kind="remove", targets=(1, 2)),
        Request(kind="move", missing="gold cross", to="centre"),
        Request(kind="background", to="sky"),
        Request(kind="add", shape="square", colour="lime", place="bottom left"),
    )
    text = (
        "Make the red circle blue. Erase all stars. Shift the gold cross to the centre. "
        "Make the background sky. Draw a lime square at the bottom left."
    )
    found = hints_of_instruction(Edit(source=source, requests=requests, edited=edited), text)
    assert by_words(found, text) == [
        ("red circle", ("top", "left", "colour", "moved"), ["0 top left"]),
        ("circle blue", ("four",), ["1 top middle"]),
        # Where both end at one word, both are told there.
        (
            "all stars",
            ("centre", "gone", "top", "right", "same", "five", "one"),
            ["0 centre", "0 top right", "1 top right"],
        ),
        ("gold cross", ("nothing",), []),
        ("the centre", ("one",), []),
        ("background sky", ("one",), []),
        ("bottom left", ("three",), ["1 bottom right"]),
    ]


def test_a_text_that_asks_for_something_else_is_refused():
    edit = Edit(source=SCENE, requests=(Request(kind="background", to="sky"),), edited=SCENE)
    with pytest.raises(UnreadInstruction):
        hints_of_instruction(edit, "Make it better.")
    with pytest.raises(ValueError, match="nothing asks for"):
        hints_of_prompt(Made(wanted=WANTED, scene=SCENE), "Two red circles.")


def test_every_lesson_that_shows_pictures_and_its_rows_text_has_hints():
    for lesson in every_lesson(5, 6, phase="judge"):
        asks = lesson.kind.startswith(
            ("judge_", "gen_score", "edit_exec", "edit_cons", "compare_r")
        )
        assert bool(lesson.hints) or not asks
        assert not lesson.hints or lesson.pictures
