"""Measures and matching, against values worked by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundry.evals.markdown import table_cell
from foundry.evals.matching import match, same_check, same_difference, word_f1
from foundry.evals.metrics import (
    best_constant,
    interval,
    macro_f1,
    macro_mae,
    mae,
    quadratic_kappa,
    spearman,
    with_interval,
)
from foundry.evals.plot import draw_measures
from foundry.evals.shapebench import Answers, Cost, Judged, Listed, Prediction
from foundry.evals.shapebench_report import measure
from foundry.evals.shapebench_tables import markdown

scores = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=40)


def arrays(*pairs):
    return np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs], float)


def test_mae_and_its_macro_form():
    true, given_ = arrays((5, 5), (5, 5), (5, 4), (1, 3))
    assert mae(true, given_) == pytest.approx(3 / 4)
    # True 5: mean of 0, 0, 1; true 1: 2.
    assert macro_mae(true, given_) == pytest.approx((1 / 3 + 2) / 2)


def test_quadratic_kappa_by_hand():
    # Observed weights: one pair off by 1 of 4. Expected: rows (1: 2, 2: 2), columns (1: 1, 2: 3).
    true, given_ = arrays((1, 1), (1, 2), (2, 2), (2, 2))
    by_chance = (2 * 3 + 2 * 1) / 4
    assert quadratic_kappa(true, given_) == pytest.approx(1 - 1 / by_chance)
    assert math.isnan(quadratic_kappa(*arrays((3, 3), (3, 3))))


def test_spearman_is_undefined_where_nothing_varies():
    assert spearman(*arrays((1, 2), (2, 3), (3, 5))) == pytest.approx(1)
    assert math.isnan(spearman(*arrays((1, 3), (2, 3))))


@given(scores)
def test_a_perfect_judge_has_no_error_and_no_constant_beats_it(pairs):
    true = np.array([t for t, _ in pairs], float)
    assert mae(true, true) == macro_mae(true, true) == 0
    assert (best_constant(true, mae)[1] == 0) == (len(set(true)) == 1)


@given(scores)
def test_the_best_constant_is_the_best(pairs):
    true, _ = arrays(*pairs)
    score, found = best_constant(true, mae)
    assert found == min(mae(true, np.full(len(true), s)) for s in range(1, 6))
    assert mae(true, np.full(len(true), score)) == found


def test_macro_f1_counts_labels_that_occur():
    # yes: 1 hit, 2 given, 1 true: 2/3. no: 1 hit, 1 given, 2 true: 2/3. partly never occurs.
    found = macro_f1(["yes", "no", "no"], ["yes", "yes", "no"], ("yes", "partly", "no"))
    assert found == pytest.approx(2 / 3)


def test_an_interval_draws_whole_groups():
    values = np.array([0.0, 0.0, 1.0, 1.0])
    low, high = interval(lambda rows: float(values[rows].mean()), ["a", "a", "b", "b"])
    assert (low, high) == (0.0, 1.0)


def test_one_group_alone_has_no_interval_and_is_shown_without_one():
    values = np.array([0.0, 0.0, 1.0, 1.0])
    alone = with_interval(lambda rows: float(values[rows].mean()), ["a"] * 4)
    assert alone == [0.5]
    assert table_cell(alone) == "0.50 (-)"
    several = with_interval(lambda rows: float(values[rows].mean()), ["a", "a", "b", "b"])
    assert table_cell(several) == "0.50 (0.00-1.00)"
    assert with_interval(lambda rows: math.nan, ["a", "b"]) is None
    assert draw_measures([("gen", [("greedy", alone), ("avg@8", several)])], "MAE")


def difference(category="colour", subject="red circle", before="red", after="blue"):
    return {"subject": subject, "category": category, "before": before, "after": after}


@pytest.mark.parametrize(
    ("given_", "same"),
    [
        (difference(), True),
        (difference(subject="the red circle at the top left"), True),
        (difference(subject="top left red circle"), True),
        (difference(subject="the red circle in the upper left corner"), True),
        (difference(subject="blue circle"), False),
        (difference(category="size"), False),
        (difference(after="navy"), False),
        (difference(before="crimson"), False),
        (difference(subject="?"), False),
    ],
)
def test_a_difference_matches_in_category_subject_and_both_states(given_, same):
    assert same_difference(given_, difference()) is same


def test_a_thing_in_another_place_or_colour_is_another_thing():
    left, right = (
        difference(subject=f"red circle at the top {side}") for side in ("left", "right")
    )
    assert not same_difference(left, right)
    assert not same_difference(left, difference(subject="centre red circle"))
    middles = [difference(subject=f"{place} red circle") for place in ("top middle", "top center")]
    assert same_difference(*middles)
    assert same_difference(middles[0], difference(subject="red circle at the top"))


@pytest.mark.parametrize(
    ("subject", "before", "same"),
    [
        ("top left red circle", "large striped red circle", True),
        ("red circle", "large striped red circle at top left", True),
        ("circle", "large striped red circle", True),
        ("top left red circle", "large striped blue circle", False),
        ("top right red circle", "large striped red circle", False),
        ("red circle", "large striped red circle at top right", False),
    ],
)
def test_what_is_gone_is_told_by_its_look_and_its_place(subject, before, same):
    true = difference("presence", "top left red circle", "large striped red circle", "absent")
    assert same_difference(difference("presence", subject, before, "absent"), true) is same


def test_a_move_is_told_by_where_to():
    true = difference("position", "top left red circle", "top left", "centre")
    for after, same in (("center", True), ("the middle", True), ("middle right", False)):
        assert same_difference({**true, "after": after}, true) is same


def test_a_relation_the_other_way_round_is_another_question():
    def relation(a, b):
        return {"kind": "relation", "question": f"Is the {a} left of the {b}?"}

    assert same_check(relation("circle", "star"), relation("circle", "star"))
    assert not same_check(relation("circle", "star"), relation("star", "circle"))


def test_a_question_matches_almost_word_for_word():
    def item(question, kind="count"):
        return {"kind": kind, "question": question}

    true = item("Are there exactly two circles?")
    assert same_check(item("Exactly two circles?"), true)
    assert not same_check(item("Are there exactly three circles?"), true)
    assert not same_check(item("Are there exactly two circles?", "subject"), true)


def test_items_are_matched_one_to_one():
    twice = [difference(), difference()]
    assert len(match(twice, [difference()], same_difference)) == 1
    assert match([], twice, same_difference) == []


@given(st.text(), st.text())
def test_word_f1_is_symmetric_and_bounded(a, b):
    assert word_f1(a, b) == word_f1(b, a)
    assert 0 <= word_f1(a, b) <= 1


def cost(*, again=False):
    return Cost(prompt_tokens=100, reply_tokens=40 if again else 20, asked_again=again)


def prediction(mode, axis, i, score, votes=1):
    return Prediction(
        mode=mode,
        votes=votes,
        axis=axis,
        row=f"r{i}",
        group=f"g{i // 2}",
        unseen=i % 2 == 0,
        true=1 + i % 5,
        score=score,
        expected=None if score is None else score + 0.25,
        reason=None if score else "reply:schema",
        cost=cost(again=score is None),
    )


def test_a_report_counts_rejects_apart_and_compares_rows_that_both_scored():
    predictions = []
    for axis, teacher in (
        ("execution", "difference first"),
        ("consistency", "difference first"),
        ("gen", "plan then score"),
    ):
        for i in range(10):
            true = 1 + i % 5
            predictions.append(prediction(teacher, axis, i, true if i else None))
            predictions.append(prediction("direct", axis, i, 3))
    check = {"kind": "subject", "question": "Is there a circle?", "verdict": "yes"}
    answers = Answers(
        predictions=predictions,
        listed=[
            Listed(
                kind="differences",
                group="g",
                given=[difference()],
                true=[difference()] * 2,
                cost=cost(),
            ),
            Listed(
                kind="differences",
                group="h",
                given=None,
                true=[difference()],
                cost=cost(again=True),
            ),
            Listed(kind="checklist", group="g", given=[check], true=[check], cost=cost()),
        ],
        judged=[Judged(group="g", given=[check | {"verdict": "no"}], true=[check])],
    )
    found = measure(answers)
    first = next(s for s in found["scores"] if s["mode"] == "difference first" and s["votes"] == 1)
    assert (first["rows"], first["rejected"], first["mae"][0]) == (10, pytest.approx(0.1), 0)
    assert first["expected_mae"][0] == pytest.approx(0.25)
    assert found["ratios"][0]["rows"] == 9
    assert found["ratios"][0]["mae_ratio"][0] == 0
    differences = found["lists"][0]
    assert differences["rejected"] == 0.5
    # The rejected list counts as empty: one hit, one said, three true.
    assert (differences["precision"][0], differences["recall"][0]) == (1, pytest.approx(1 / 3))
    # The one that got no score has a true 1, so 5 would be the furthest from it.
    assert (first["scored"], first["worst_mae"]) == (9, pytest.approx(4 / 10))
    assert first["cost"]["reply_tokens"] == pytest.approx(22)
    assert first["cost"]["asked_again"] == pytest.approx(0.1)
    assert differences["cost"] == {
        "asked": 2,
        "prompt_tokens": 100,
        "reply_tokens": 30,
        "asked_again": 0.5,
    }
    known, new = (
        next(s for s in found["looks"] if s["mode"] == "direct" and s["unseen"] is unseen)
        for unseen in (False, True)
    )
    assert (known["rows"], new["rows"]) == (5, 5)
    assert found["verdicts"]["accuracy"][0] == 0
    assert "| execution | always 3" in markdown(found)
