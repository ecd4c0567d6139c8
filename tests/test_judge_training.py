"""The parts of a training that need no torch: plan, curve, card, how replies are measured."""

import json

import pytest

from foundry.shapeworld.judge_card import model_card
from foundry.shapeworld.judge_evaluation import measure
from foundry.shapeworld.judge_plan import Plan, learning_rate
from foundry.shapeworld.judge_run import CURVE, add_to_curve, read_curve
from foundry.shapeworld.lesson import Lesson
from foundry.shapeworld.rows import FIRST_RESERVED_SEED


def lesson(kind, reply):
    reply = reply if isinstance(reply, str) else json.dumps(reply)
    return Lesson(kind=kind, pictures=(), seen=(), text="?", reply=reply, system=None)


def test_a_reply_without_a_legal_score_is_wrong_and_as_far_off_as_can_be():
    wanted = [lesson("judge_gen", {"reasoning": "So.", "score": 4})] * 6
    replies = ['{"score": 4}', '{"score": 2}', "not JSON", '{"score": true}', '{"score": 6}', "[4]"]
    found = measure(wanted, replies)
    assert found["n"] == 6
    assert found["accuracy"] == pytest.approx(1 / 6)
    assert found["mae"] == pytest.approx((0 + 2 + 4 * 4) / 6)
    assert found["exact"] == 0
    assert "f1" not in found


def test_lists_are_measured_by_all_their_items_together():
    one, two, three = ({"subject": name, "category": "colour"} for name in "abc")
    wanted = [lesson("edit_differences", {"obvious": [one, two], "detailed": []})] * 2
    replies = [
        json.dumps({"obvious": [one], "detailed": [two]}),
        json.dumps({"obvious": [three, three], "detailed": []}),
    ]
    # Two hits; four items wanted, four given.
    assert measure(wanted, replies)["f1"] == pytest.approx(2 * 2 / 8)


def test_verdicts_count_whatever_their_evidence_says():
    said = {"verdicts": [{"id": "c1", "evidence": "one star", "verdict": "yes"}], "score": 5}
    reply = {"verdicts": [{"id": "c1", "evidence": "a star", "verdict": "yes"}], "score": 5}
    assert measure([lesson("gen_score", said)], [json.dumps(reply)])["f1"] == 1


def test_a_plain_question_is_right_or_not():
    found = measure(
        [lesson("scene_caption", "white background; .")] * 2, ["white background; .", ""]
    )
    assert found == {"n": 2, "exact": 0.5}


def test_half_a_line_of_the_curve_spoils_no_other(tmp_path):
    add_to_curve(tmp_path, Plan(), 16, 1.0, 2.0, {})
    with open(tmp_path / CURVE, "a") as file:
        file.write('{"step": 32, "les')
    add_to_curve(tmp_path, Plan(), 32, 2.0, 1.5, {})
    add_to_curve(tmp_path, Plan(), 16, 3.0, 1.9, {})
    found = read_curve(tmp_path)
    assert [(entry["step"], entry["loss"]) for entry in found] == [(16, 1.9), (32, 1.5)]
    assert found[1]["lessons"] == 32 * Plan().batch


def test_the_rate_rises_and_falls_before_scores_and_once_more_with_them():
    plan = Plan()
    every = [learning_rate(plan, step) for step in range(plan.steps)]
    parts = (
        (every[: plan.base_end], plan.learning_rate),
        (every[plan.base_end :], plan.judge_learning_rate),
    )
    for rates, peak in parts:
        assert rates[0] == pytest.approx(peak / plan.warmup)
        assert max(rates) == pytest.approx(peak)
        assert rates.index(max(rates)) in (plan.warmup - 1, plan.warmup)
        assert rates[-1] == pytest.approx(peak / 20, rel=1e-3)


def test_a_plan_measures_at_even_steps_and_refuses_what_it_cannot_do():
    plan = Plan(look_steps=16, base_steps=32, judge_steps=48, evaluations=4)
    assert plan.evaluated == {24, 48, 72, 96}
    assert [plan.phase(step) for step in (15, 16, 47, 48)] == ["look", "base", "base", "judge"]
    with pytest.raises(ValueError, match="multiples of 16"):
        Plan(look_steps=10)
    with pytest.raises(ValueError, match="are for measuring"):
        Plan(seed=FIRST_RESERVED_SEED)


def test_a_card_tells_how_the_weights_came_about():
    curve = [
        {"step": s, "lessons": 64 * s, "minutes": 1.0, "loss": 1.0, "found": found}
        for s, found in ((16, {}), (32, {"judge_gen": {"n": 80.0, "exact": 0.1, "mae": 0.5}}))
    ]
    card = model_card("judge", command="python -m x", facts={"seed": 1}, curve=curve)
    for words in ("python -m x", "sees ShapeWorld and nothing else", "0.50"):
        assert words in card
