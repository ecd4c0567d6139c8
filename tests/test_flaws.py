"""Flawed pictures: scores by hand, and that each flaw is seen in the picture alone where it is."""

from itertools import pairwise
from random import Random

import pytest
from PIL import ImageChops, ImageStat

from foundry.shapeworld.flaws import (
    Flaws,
    explain_quality,
    quality_scores,
    random_flaws,
    spoil,
)
from foundry.shapeworld.rows import make_group

NONE = {"light": ("too dark", 0), "making": ("noisy", 0)}


@pytest.fixture(scope="module")
def rows():
    return [row for group in range(60) for row in make_group("gen", 5, group, unseen=False)]


@pytest.mark.parametrize(
    ("flaws", "scores", "told"),
    [
        (
            {},
            (5, 5, 5),
            "Light and colours are right. It is sharp and clean. All things are whole.",
        ),
        (
            {"light": ("too pale", 1), "torn": (4,), "tear": "slightly"},
            (4, 5, 4),
            "The picture is slightly too pale. It is sharp and clean. One thing is slightly torn.",
        ),
        (
            {"making": ("blocky", 4), "torn": (4,)},
            (5, 1, 3),
            "Light and colours are right. It is extremely blocky. One thing is plainly torn.",
        ),
        (
            {"light": ("too dark", 3), "making": ("noisy", 2), "torn": (0, 5)},
            (2, 3, 2),
            "The picture is heavily too dark. It is plainly noisy. Two things are plainly torn.",
        ),
        (
            {"torn": (0, 1, 2)},
            (5, 5, 1),
            "Light and colours are right. It is sharp and clean. Three things are plainly torn.",
        ),
    ],
)
def test_scores_follow_from_flaws(flaws, scores, told):
    found = Flaws(**{**NONE, **flaws})
    assert tuple(quality_scores(found).values()) == scores
    assert list(quality_scores(found)) == ["aesthetics", "technical", "structure"]
    assert explain_quality(found) == told


def test_nothing_leans_where_a_thing_is_torn(rows):
    leaning = 0
    for number, row in enumerate(rows):
        things = row.case.scene.things
        torn = random_flaws(Random(number), row.case.scene).torn
        towards = {thing.lean for thing in things} - {None}
        leaning += bool(towards)
        assert not towards & {*torn}
        assert all(thing.lean is None for thing in things if thing.cell in torn)
    assert leaning


def test_every_score_of_each_part_comes_up(rows):
    found = [quality_scores(random_flaws(Random(i), row.case.scene)) for i, row in enumerate(rows)]
    for part in found[0]:
        assert {scores[part] for scores in found} == {1, 2, 3, 4, 5}


def test_a_picture_without_flaws_stays_as_it_is(rows):
    picture = rows[0].pictures["image"]
    assert spoil(picture, Flaws(**NONE), Random(0)).tobytes() == picture.tobytes()


@pytest.mark.parametrize("name", ["too dark", "too pale", "blurred", "noisy", "blocky"])
def test_a_graver_flaw_changes_more(rows, name):
    part = "light" if name.startswith("too") else "making"
    picture = rows[0].pictures["image"]
    away = []
    for gravity in range(5):
        flaws = Flaws(**{**NONE, part: (name, gravity)})
        changed = ImageChops.difference(picture, spoil(picture, flaws, Random(0)))
        away.append(sum(ImageStat.Stat(changed).mean))
    assert away[0] == 0
    assert all(less < more for less, more in pairwise(away))


def test_a_tear_is_in_its_cell_alone(rows):
    drawn = ((row, random_flaws(Random(i), row.case.scene).torn) for i, row in enumerate(rows))
    row, (cell, *_) = next((row, torn) for row, torn in drawn if torn)
    picture = row.pictures["image"]
    torn = spoil(picture, Flaws(**NONE, torn=(cell,)), Random(0))
    left, top, right, bottom = ImageChops.difference(picture, torn).getbbox()
    side = picture.width / 3
    assert cell % 3 * side - 1 <= left < right <= (cell % 3 + 1) * side + 1
    assert (cell // 3 + 0.5) * side - 1 <= top < bottom <= (cell // 3 + 1) * side + 1
    # It is the same half cell, moved aside: no other colours.
    assert sorted(torn.getcolors(1 << 20)) == sorted(picture.getcolors(1 << 20))
