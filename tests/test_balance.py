import math

import polars as pl
import pytest
from chain_cases import make_recipe
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.balance import choose_rows, effective_size, quotas

UNIFORM = (0.2,) * 5
counts_of_scores = st.lists(st.integers(0, 500), min_size=5, max_size=5)
targets = st.lists(st.integers(0, 9), min_size=5, max_size=5).filter(any)


def shares_of(weights):
    return [weight / sum(weights) for weight in weights]


def frame(counts, *, axis="execution", split="train"):
    scores = [score for score, n in enumerate(counts, 1) for _ in range(n)]
    return pl.DataFrame(
        {
            "row_id": [f"{axis}{i:05d}" for i in range(len(scores))],
            "split": [split] * len(scores),
            "axis": [axis] * len(scores),
            "score": scores,
        },
        schema_overrides={"axis": pl.String},
    )


def choose(rows, targets, **more):
    return choose_rows(rows, targets, **{"tolerance": 0.0, "least_kept": 0.0, "seed": 0, **more})


@pytest.mark.parametrize(
    ("counts", "target", "tolerance", "least_kept", "expected"),
    [
        # The scarcest score decides.
        ([50, 60, 70, 80, 800], UNIFORM, 0.0, 0.0, [50, 50, 50, 50, 50]),
        # Two points more of fives: 56 of 256 is 0.219, 57 of 257 is 0.2218.
        ([50, 50, 50, 50, 800], UNIFORM, 0.02, 0.0, [50, 50, 50, 50, 56]),
        # 60% of 1,000 rows are 600: all that is scarce, and fives for the rest.
        ([50, 50, 50, 50, 800], UNIFORM, 0.02, 0.6, [50, 50, 50, 50, 400]),
        # A score that nobody gave cannot be had.
        ([0, 50, 50, 50, 850], UNIFORM, 0.02, 0.2, [0, 50, 50, 50, 50]),
        ([0, 50, 50, 50, 850], UNIFORM, 0.02, 0.0, [0, 0, 0, 0, 0]),
        ([10, 20, 20, 40, 40], (0.1, 0.2, 0.2, 0.2, 0.3), 0.0, 0.0, [10, 20, 20, 20, 30]),
        ([30, 20, 20, 20, 20], (0.0, 0.25, 0.25, 0.25, 0.25), 0.0, 0.0, [0, 20, 20, 20, 20]),
        ([0, 0, 0, 0, 0], UNIFORM, 0.02, 0.3, [0, 0, 0, 0, 0]),
        ([3, 3, 3, 3, 3], UNIFORM, 0.0, 1.0, [3, 3, 3, 3, 3]),
        # 30% of twelve are four rows, though a fifth of four is less than one.
        ([0, 3, 3, 3, 3], UNIFORM, 0.02, 0.3, [0, 1, 1, 1, 1]),
        ([0, 1, 1, 1, 1], UNIFORM, 0.02, 0.3, [0, 1, 1, 0, 0]),
        # A score that nobody wants is not kept for the sake of a number.
        ([100, 0, 0, 0, 10], (0.0, 0.25, 0.25, 0.25, 0.25), 0.02, 0.5, [0, 0, 0, 0, 10]),
    ],
)
def test_quotas_worked_by_hand(counts, target, tolerance, least_kept, expected):
    assert quotas(counts, target, tolerance=tolerance, least_kept=least_kept) == expected


@given(counts_of_scores, targets, st.floats(0, 0.2), st.floats(0, 1))
def test_no_more_rows_than_there_are_and_the_least_is_kept(counts, weights, tolerance, least):
    target = shares_of(weights)
    found = quotas(counts, target, tolerance=tolerance, least_kept=least)
    assert all(0 <= kept <= n for kept, n in zip(found, counts, strict=True))
    wanted = sum(n for n, share in zip(counts, target, strict=True) if share)
    assert sum(found) >= min(math.floor(least * sum(counts)), wanted)


@given(st.lists(st.integers(40, 500), min_size=5, max_size=5), st.floats(0, 0.2))
def test_without_a_least_share_the_tolerance_holds(counts, tolerance):
    found = quotas(counts, UNIFORM, tolerance=tolerance, least_kept=0.0)
    # Whole rows: one more or less moves a share by less than one part of all.
    assert all(abs(n / sum(found) - 0.2) <= tolerance + 1 / sum(found) for n in found)
    assert sum(found) >= 5 * min(counts)


def test_effective_sizes_worked_by_hand():
    # Weights 0.2 / share: 1 / (4 * 0.04 / 5 + 0.04 / 80) = 1 / 0.0325.
    assert effective_size([5, 5, 5, 5, 80], UNIFORM) == pytest.approx(1 / 0.0325)
    assert effective_size([20] * 5, UNIFORM) == pytest.approx(100)
    assert effective_size([0, 1, 1, 1, 1], UNIFORM) == 0.0
    assert effective_size([0, 10, 0, 0, 0], (0, 1, 0, 0, 0)) == 10


def test_each_axis_and_split_is_balanced_alone_and_one_without_a_target_stays():
    rows = pl.concat(
        [
            frame([2, 9, 9, 9, 9]),
            frame([4, 9, 9, 9, 9], split="validation").with_columns(row_id="v" + pl.col("row_id")),
            frame([1, 9, 9, 9, 9], axis="consistency"),
        ]
    )
    kept, done = choose(rows, {"execution": UNIFORM})
    stands = rows.filter(kept)
    counts = stands.group_by("split", "axis").len().sort("split", "axis").rows()
    assert counts == [
        ("train", "consistency", 37),
        ("train", "execution", 10),
        ("validation", "execution", 20),
    ]
    assert [(one.split, one.axis) for one in done] == [
        ("train", "execution"),
        ("validation", "execution"),
    ]
    assert done[0].before == [2, 9, 9, 9, 9]
    assert done[0].after == [2, 2, 2, 2, 2]
    assert done[0].kept_share == pytest.approx(10 / 38)
    assert done[0].largest_deviation == 0


def test_generated_pictures_have_one_axis_without_a_name():
    rows = frame([1, 3, 3, 3, 3]).with_columns(axis=pl.lit(None, pl.String))
    kept, done = choose(rows, {"gen": UNIFORM})
    assert kept.sum() == 5
    assert done[0].axis is None


def test_the_seed_alone_decides_which_rows_stand():
    rows = frame([5, 50, 50, 50, 50])
    first, _ = choose(rows, {"execution": UNIFORM})
    again, _ = choose(rows.sample(fraction=1, shuffle=True, seed=1), {"execution": UNIFORM})
    other, _ = choose(rows, {"execution": UNIFORM}, seed=1)
    assert first.sum() == again.sum() == other.sum() == 25
    shuffled = rows.sample(fraction=1, shuffle=True, seed=1).filter(again)
    assert set(shuffled["row_id"]) == set(rows.filter(first)["row_id"])
    assert set(rows.filter(other)["row_id"]) != set(rows.filter(first)["row_id"])


def test_no_rows_are_balanced_to_no_rows():
    kept, done = choose(frame([0] * 5), {"execution": UNIFORM})
    assert (len(kept), done) == (0, [])


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ({"gen": "uniform"}, "no axis"),
        ({"execution": [0.5, 0.5, 0.5, 0, 0]}, "add up to 1"),
        ({"execution": [1.2, -0.2, 0, 0, 0]}, "at least 0"),
        ({"execution": [0.5, 0.5]}, "targets"),
    ],
)
def test_a_target_that_is_none_is_refused(targets, said):
    with pytest.raises(ValidationError, match=said):
        make_recipe("edit", balance={"targets": targets})
