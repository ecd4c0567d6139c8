"""The scenes that the example's policy writes: there and back, and what tells none."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.grpo_shapeworld.scene_text import (
    MOST_WORDS,
    example_of,
    prompt_of,
    read_scene,
    true_score,
    write_scene,
)
from foundry.shapeworld.scenes import random_scene


@given(st.integers(0, 10_000))
def test_a_scene_comes_back_from_its_words(seed):
    scene = random_scene(Random(seed))
    text = write_scene(scene)
    assert len(text.split()) <= MOST_WORDS
    back = read_scene(text)
    assert write_scene(back) == text
    look = [(t.shape, t.colour, t.size, t.cell) for t in scene.things]
    assert [(t.shape, t.colour, t.size, t.cell) for t in back.things] == look


@pytest.mark.parametrize(
    "text",
    [
        "",
        "white",
        "; large red circle 4",
        "pink ; large red circle 4",
        "white ; large red circle",
        "white ; large red circle 9",
        "white ; red large circle 4",
        "white ; large red circle 4 ;",
        "white ; large red circle 4 ; small blue star 4",
        "white cream ; large red circle 4",
        "white" + "".join(f" ; large red circle {cell}" for cell in range(9)),
    ],
)
def test_a_text_that_tells_no_scene_is_none(text):
    assert read_scene(text) is None


def test_examples_are_of_every_score():
    scores = []
    for number in range(200):
        prompt, text = example_of(5, number)
        wanted, asked = prompt_of(5, number)
        assert prompt == asked
        scores.append(true_score(wanted, read_scene(text)))
    assert all(scores.count(score) > 15 for score in range(1, 6))
