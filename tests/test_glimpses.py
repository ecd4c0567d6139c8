"""What the judge in training is told of each cell, on pairs worked by hand."""

import pytest
from shapeworld_cases import after, scene

from foundry.shapeworld.glimpses import glimpses
from foundry.shapeworld.scenes import PLACES

WORLD = scene("white", "red circle top left", "large striped navy star centre")


def told(edited, place):
    cell = PLACES.index(place)
    first, second = glimpses([WORLD, edited])
    looks = glimpses([edited])[0][cell]
    assert first == glimpses([WORLD])[0]
    assert second[cell][: len(looks)] == looks
    return second[cell][len(looks) :]


def test_a_picture_alone_is_told_cell_by_cell():
    (cells,) = glimpses([WORLD])
    assert cells[0] == ("medium", "plain", "red", "circle")
    assert cells[4] == ("large", "striped", "navy", "star")
    assert cells[8] == ("empty", "white")
    assert len(cells) == 9


@pytest.mark.parametrize(
    ("change", "place", "expected"),
    [
        ({}, "top left", ("same",)),
        ({}, "top right", ("nothing",)),
        ({"t0": {"colour": "crimson"}}, "top left", ("colour", "minor")),
        ({"t0": {"colour": "blue"}}, "top left", ("colour", "significant")),
        ({"t0": {"size": "large"}}, "top left", ("size", "minor")),
        ({"t1": {"size": "small"}}, "centre", ("size", "significant")),
        ({"t1": {"pattern": "plain", "size": "medium"}}, "centre", ("size", "pattern", "minor")),
        ({"t0": {"shape": "star"}}, "top left", ("shape", "significant")),
        ({"remove": (0,)}, "top left", ("gone", "significant")),
        ({"add": ("lime cross top right",)}, "top right", ("new", "significant")),
        ({"t0": {"cell": 2}}, "top right", ("new", "moved", "significant")),
        ({"t0": {"cell": 2}}, "top left", ("gone", "significant")),
        # Next door is minor, where it was and where it is.
        ({"t0": {"cell": 1}}, "top left", ("gone", "minor")),
        ({"t0": {"cell": 1}}, "top middle", ("new", "moved", "minor")),
        ({"t0": {"cell": 1, "colour": "blue"}}, "top middle", ("new", "moved", "significant")),
        ({"background": "sky"}, "top right", ("nothing", "background", "significant")),
        ({"background": "sky"}, "top left", ("same",)),
    ],
)
def test_a_second_picture_is_told_with_what_changed(change, place, expected):
    assert told(after(WORLD, **change), place) == expected
