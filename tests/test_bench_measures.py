"""What is measured on a benchmark, against values worked by hand, scipy, and published figures."""

import json
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from foundry.evals.asking_pairs import Choices
from foundry.evals.bench import Item, Pair
from foundry.evals.bench_tables import markdown
from foundry.evals.compare import markdown as comparison
from foundry.evals.comparing import NotComparable, compare
from foundry.evals.metrics import interval, quadratic_kappa, spearman
from foundry.evals.modes import MODES, Scored, failures, scores_by_mode
from foundry.evals.pairs_report import (
    mean_of_parts,
    measure_alone,
    measure_together,
    outcomes,
    preference,
)
from foundry.evals.published import published
from foundry.evals.scores_report import measure_scores
from foundry.rewards.formulas import cme

pairs_of_scores = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=30)


# Every answer is one of its own.
NUMBERS = count()


def answer(score, votes=None, *, expected=None, reason="reply:not_json", prompt="A cat."):
    """Both answers about a row, as the tables hold them; score None: a failure.

    `votes` left out are the score eight times, or eight failures; None among them: one.
    """
    about = {"prompt": prompt, "image_sha256": prompt, "answer_id": next(NUMBERS)}
    failed = {**about, "status": "rejected", "reason": reason, "faults": [reason] * 3}
    ok = {**about, "status": "ok", "reason": None, "faults": []}
    greedy = failed if score is None else {**ok, "score": score, "score_expected": expected}
    votes = [score] * 8 if votes is None else votes
    rollouts = [{"score": vote, "reason": None if vote else reason} for vote in votes]
    sampled = ok if any(votes) else failed
    return Scored(greedy=greedy, sampled={**sampled, "rollouts": rollouts})


def item(number, true, *, axis="gen", part="", group=None):
    row = f"r{number}"
    return Item(id=f"{row}:{axis}", row=row, axis=axis, part=part, group=group or row, true=true)


def pair(number, human="first", *, axis="gen", part="", group=None):
    first, second = (f"{number}:{side}" for side in ("first", "second"))
    return Pair(id=str(number), first=first, second=second, axis=axis, part=part,
                group=group or str(number), human=human)  # fmt: skip


def one_slice(items, answers):
    (found,) = measure_scores(items, answers)["slices"]
    return found, {mode["mode"]: mode for mode in found["modes"]}


def counted(axis, counts):
    """Items with so many of each true score, 1 to 5, as FIRM-Bench's were counted."""
    trues = [score for score, n in enumerate(counts, 1) for _ in range(n)]
    return [item(i, true, axis=axis) for i, true in enumerate(trues)]


def test_firm_benchs_constant_figures_follow_from_its_published_score_counts():
    edit = published("firm_bench_edit")["score_counts"]
    items = counted("execution", edit["execution"]) + counted("consistency", edit["consistency"])
    items += counted("gen", published("firm_bench_gen")["score_counts"]["gen"])
    answers = {(one.row, one.axis): answer(4) for one in items}
    found = {s["slice"]: s for s in measure_scores(items, answers)["slices"]}
    assert {name: one["n"] for name, one in found.items()} == {
        "execution": 301,
        "consistency": 256,
        "gen": 250,
        "edit": 557,
    }
    figures = {"execution": 0.947, "consistency": 0.762, "edit": 0.862, "gen": 1.036}
    for name, figure in figures.items():
        assert round(found[name]["constants"][4]["mae"], 3) == figure
        # A judge that always says 4 measures the same, and ranks nothing.
        greedy = found[name]["modes"][0]
        assert round(greedy["mae"][0], 3) == figure
        assert greedy["spearman"] is None
    # By hand, from the counts: each true score weighs the same.
    assert found["gen"]["constants"][4]["macro_mae"] == pytest.approx((3 + 2 + 1 + 0 + 1) / 5)


@given(pairs_of_scores)
def test_rank_correlation_is_scipys(pairs):
    true, given_ = (np.array(side, float) for side in zip(*pairs, strict=True))
    if len(set(true)) > 1 and len(set(given_)) > 1:
        assert spearman(true, given_) == pytest.approx(stats.spearmanr(true, given_).statistic)
    else:
        assert np.isnan(spearman(true, given_))


@given(pairs_of_scores)
def test_quadratic_kappa_is_what_its_moments_say(pairs):
    # With quadratic weights: 2 cov / (var + var + (difference of means)^2), all over n.
    true, given_ = (np.array(side, float) for side in zip(*pairs, strict=True))
    spread = true.var() + given_.var() + (true.mean() - given_.mean()) ** 2
    if spread:
        covariance = ((true - true.mean()) * (given_ - given_.mean())).mean()
        assert quadratic_kappa(true, given_) == pytest.approx(2 * covariance / spread)
    else:
        assert np.isnan(quadratic_kappa(true, given_))


def test_each_mode_is_worked_out_from_one_greedy_reply_and_eight_votes():
    answers = {("r0", "gen"): answer(4, [5, 1, 1, 1, 3, 3, 3, 3], expected=3.75)}
    by_mode = scores_by_mode(answers)
    found = {mode: given[("r0", "gen")] for mode, given in by_mode.items()}
    assert found == {"greedy": 4, "expected": 3.75, "avg@1": 5, "avg@4": 2, "avg@8": 2.5}


def test_nothing_takes_the_place_of_a_vote_that_cannot_be_used():
    votes = {
        "r0": [None, 5, 1, None, 3, 3, 3, 5],
        "r1": [4] + [None] * 7,
        "r2": [None] * 4 + [2] * 4,
    }
    answers = {(row, "gen"): answer(4, some) for row, some in votes.items()}
    by_mode = scores_by_mode(answers)
    found = {row: [by_mode[f"avg@{k}"][row, "gen"] for k in (1, 4, 8)] for row in votes}
    assert found == {"r0": [None, 3, 20 / 6], "r1": [4, 4, 4], "r2": [None, None, 2]}
    _, modes = one_slice([item(i, 3) for i in range(3)], answers)
    assert [modes[f"avg@{k}"]["failures"] for k in (1, 4, 8)] == [2, 1, 0]
    counted_ = failures(answers)["votes"]
    assert (counted_["answers"], counted_["without_score"]) == (24, 2 + 7 + 4)
    assert counted_["reasons"] == {"reply:not_json": 13}


def test_votes_of_a_request_that_was_refused_are_failures_each():
    one = answer(None, reason="request:too_long")
    sampled = {name: value for name, value in one.sampled.items() if name != "rollouts"}
    answers = {("r0", "gen"): Scored(greedy=one.greedy, sampled=sampled)}
    assert scores_by_mode(answers)["avg@8"] == {("r0", "gen"): None}
    assert failures(answers)["votes"]["reasons"] == {"request:too_long": 8}


def test_scores_worked_by_hand_a_failure_is_apart_and_the_furthest():
    items = [item(0, 1), item(1, 3), item(2, 5), item(3, 2)]
    given_ = [2, 3, 3, None]
    answers = {(f"r{i}", "gen"): answer(score, expected=score and score + 0.5)
               for i, score in enumerate(given_)}  # fmt: skip
    found, modes = one_slice(items, answers)
    greedy = modes["greedy"]
    assert (found["n"], greedy["n"], greedy["failures"]) == (4, 4, 1)
    # Off by 1, 0 and 2; of the failure 5 is the furthest from a true 2, by 3.
    assert greedy["mae"][0] == pytest.approx(3 / 3)
    assert greedy["worst_mae"][0] == pytest.approx(6 / 4)
    assert greedy["macro_mae"][0] == pytest.approx(1)
    assert greedy["spearman"][0] == pytest.approx(np.sqrt(3) / 2)
    assert modes["expected"]["mae"][0] == pytest.approx((1.5 + 0.5 + 1.5) / 3)
    # Kappa is for whole scores.
    assert modes["expected"]["kappa"] is None
    assert failures(answers)["greedy"] == {
        "answers": 4,
        "without_score": 1,
        "reasons": {"reply:not_json": 1},
        "first_reply_unusable": 1,
    }


def test_failures_move_no_correlation_and_every_one_is_counted():
    items = [item(i, 1 + i % 5) for i in range(10)]
    answers = {(one.row, "gen"): answer(None if i < 3 else one.true, expected=1.0)
               for i, one in enumerate(items)}  # fmt: skip
    _, modes = one_slice(items, answers)
    assert modes["greedy"]["spearman"][0] == pytest.approx(1)
    assert modes["greedy"]["mae"][0] == 0
    assert [modes[mode]["failures"] for mode in MODES] == [3] * 5
    # True scores 1, 2 and 3, furthest by 4, 3 and 2.
    assert modes["greedy"]["worst_mae"][0] == pytest.approx(9 / 10)


def test_a_server_without_probabilities_has_no_expected_score_and_that_is_no_failure():
    items = [item(i, 1 + i) for i in range(3)]
    given_ = [1, None, 3]
    answers = {(one.row, "gen"): answer(s) for one, s in zip(items, given_, strict=True)}
    _, modes = one_slice(items, answers)
    assert (modes["expected"]["n"], modes["expected"]["failures"]) == (0, 0)
    assert modes["expected"]["mae"] is None
    # One reply has them: the one that came without is left out, the failure is one.
    answers["r2", "gen"] = answer(3, expected=2.5)
    _, modes = one_slice(items, answers)
    assert (modes["expected"]["n"], modes["expected"]["failures"]) == (2, 1)


def test_a_part_that_one_score_says_nothing_of_is_a_gap_in_the_table():
    pairs = [pair(i, part=("add", "remove", "text")[i]) for i in range(3)]
    answers = {(row, "gen"): answer(3, expected=None if i == 2 else 2.0)
               for i, one in enumerate(pairs) for row in (one.first, one.second)}  # fmt: skip
    found = measure_alone(pairs, answers) | {"published": None, "failures": failures(answers)}
    assert "| text | 1 | 0.00 | - | 0.00 |" in markdown(found)


def test_nothing_at_all_is_answered_and_the_report_stands():
    items = [item(i, 1 + i) for i in range(3)]
    answers = {(one.row, "gen"): answer(None) for one in items}
    found = measure_scores(items, answers)
    json.dumps(found, allow_nan=False)
    text = markdown(found | {"published": None, "failures": failures(answers)})
    assert "| gen | greedy | 3 | 3 | - | - | - | - | 3.00" in text


def test_ties_count_as_wrong_or_as_half_and_a_failure_as_wrong():
    sides = [(4, 2), (3, 3), (1, 5), (None, 5), (2, 2), (1, 2)]
    humans = ["first", "first", "first", "second", "second", "second"]
    found = outcomes(humans, sides)
    assert found["strict"].tolist() == [1, 0, 0, 0, 0, 1]
    assert found["half"].tolist() == [1, 0.5, 0, 0, 0.5, 1]
    assert found["ties"].sum() == 2
    assert found["failed"].sum() == 1
    assert found["first"].sum() == 1


sides = st.one_of(st.none(), st.integers(1, 5))


@given(st.lists(st.tuples(st.sampled_from(["first", "second"]), sides, sides), min_size=1))
def test_whoever_stands_first_makes_no_difference(told):
    swapped = {"first": "second", "second": "first"}
    one = outcomes([t[0] for t in told], [t[1:] for t in told])
    other = outcomes([swapped[t[0]] for t in told], [t[:0:-1] for t in told])
    for name in ("strict", "half", "ties", "failed"):
        assert one[name].tolist() == other[name].tolist()
    assert (one["strict"] <= one["half"]).all()


def test_rewards_that_differ_in_their_last_bits_alone_are_a_tie():
    # 1.0 x 0.6 and 0.75 x 0.8.
    first, second = float(cme(5, 1)), float(cme(4, 3))
    assert first != second
    assert preference((first, second)) == 0


def test_accuracy_over_parts_weighs_each_part_the_same():
    pairs = [pair(i, part="add" if i < 3 else "remove") for i in range(4)]
    # Right, right, right in one part; a tie in the other.
    answers = {}
    for i, one in enumerate(pairs):
        answers[one.first, "gen"] = answer(4)
        answers[one.second, "gen"] = answer(2 if i < 3 else 4)
    (found,) = measure_alone(pairs, answers)["slices"]
    greedy = found["modes"][0]
    assert (greedy["strict"][0], greedy["half"][0]) == (0.75, 0.875)
    assert (greedy["macro_strict"][0], greedy["macro_half"][0]) == (0.5, 0.75)
    assert greedy["tie_rate"][0] == 0.25
    assert greedy["first_rate"] == 1
    assert [part["strict"] for part in greedy["parts"]] == [1, 0]
    assert found["always_first"] == 1
    # A part that no draw has is in no mean.
    assert mean_of_parts(np.ones(2), np.array([0, 2]), np.array([1, 1])) == 1


def test_what_people_did_not_decide_is_left_out_and_counted():
    pairs = [pair(0, "first"), pair(1, "tie"), pair(2, "second")]
    answers = {(row, "gen"): answer(3) for one in pairs for row in (one.first, one.second)}
    (found,) = measure_alone(pairs, answers)["slices"]
    assert (found["n"], found["human_ties"], found["always_first"]) == (2, 1, 0.5)
    assert found["modes"][0]["first_rate"] is None


def test_an_edit_as_a_whole_is_compared_by_the_reward_of_both_axes():
    one = pair(0, axis="overall")
    scores = {one.first: (5, 2), one.second: (4, 5)}
    answers = {(row, axis): answer(score) for row, both in scores.items()
               for axis, score in zip(("execution", "consistency"), both, strict=True)}  # fmt: skip
    found = measure_alone([one], answers)
    # 1 x 0.7 against 0.75 x 1.
    assert found["items"][0]["given"]["greedy"] == pytest.approx((0.7, 0.75))
    assert found["slices"][0]["modes"][0]["strict"][0] == 0


def test_votes_repeat_a_preference_where_both_halves_agree():
    pairs = [pair(0), pair(1)]
    answers = {
        (pairs[0].first, "gen"): answer(5, [5] * 8),
        (pairs[0].second, "gen"): answer(1, [1] * 8),
        (pairs[1].first, "gen"): answer(5, [5] * 4 + [1] * 4),
        (pairs[1].second, "gen"): answer(3, [3] * 8),
    }
    (found,) = measure_alone(pairs, answers)["slices"]
    assert found["repeated"][0] == 0.5


def choice(place):
    """An answer about two pictures shown at once; None: a failure."""
    about = {"first_image_sha256": "a", "second_image_sha256": "b", "faults": []}
    ok = place is not None
    return {**about, "status": "ok" if ok else "rejected", "reason": None if ok else "reply:empty",
            "choice": place}  # fmt: skip


def test_both_orders_tell_a_preference_from_a_habit():
    humans = ("first", "first", "second", "first", "tie")
    pairs = [pair(i, human) for i, human in enumerate(humans)]
    # Swapped, the pair's first picture is shown second.
    told = [("first", "second"), ("first", "first"), ("first", "second"), ("second", None)]
    told.append(("second", "first"))
    choices = [Choices(as_given=choice(a), swapped=choice(b)) for a, b in told]
    (found,) = measure_together(pairs, choices)["slices"]
    modes = {mode["mode"]: mode for mode in found["modes"]}
    # The first is right, the second a habit, the third wrong both times, the fourth failed once.
    assert modes["as given"]["strict"][0] == 2 / 4
    assert modes["swapped"]["strict"][0] == 1 / 4
    assert modes["swapped"]["failures"] == 1
    both = modes["both orders"]
    assert (both["strict"][0], both["half"][0], both["tie_rate"][0]) == (1 / 4, 1.5 / 4, 1 / 4)
    assert both["failures"] == 1
    # Whatever people said, the last pair was asked about too.
    assert found["orders"]["consistent"][0] == 3 / 4
    assert found["orders"]["shown_first"][0] == (0.5 + 1 + 0.5 + 0.5) / 4


def report(given_, *, bench="firm_bench_gen", **more):
    """A report on items whose true scores go round, with one mode."""
    items = [
        {"id": str(i), "axis": "gen", "part": "", "group": str(i), "content": str(i)}
        | {"true": 1 + i % 5, "given": {"greedy": score}}
        for i, score in enumerate(given_)
    ]
    return {"bench": bench, "model": "m", "items": items, **more}


def differences(a, b):
    return {(d["mode"], d["measure"]): d for d in compare(a, b)["differences"]}


def test_the_bootstrap_is_paired():
    # Errors differ widely between items, and by a tenth, always the same, between the judges.
    trues = [1 + i % 5 for i in range(40)]
    far = [abs(true - 5) for true in trues]
    a, b = report([5.0] * 40), report([5.0 - 0.1 * (true < 5) for true in trues])
    found = differences(a, b)["greedy", "worst_mae"]
    value, low, high = found["difference"]
    gains = np.array([-0.1 * (true < 5) for true in trues])
    assert value == pytest.approx(gains.mean())
    assert low >= -0.1
    assert high < 0
    assert found["verdict"] == "b is better"
    # Drawn apart, the two would not be told apart.
    apart = interval(lambda rows: float(np.array(far)[rows].mean()), range(40))
    assert apart[1] - apart[0] > 10 * (high - low)


def test_the_other_way_round_the_verdict_is_the_other():
    good, bad = report([1 + i % 5 for i in range(20)]), report([5 - i % 5 for i in range(20)])
    for a, b, verdict in ((bad, good, "b is better"), (good, bad, "a is better")):
        found = differences(a, b)
        assert {d["verdict"] for d in found.values()} == {verdict}
    same = differences(good, good)["greedy", "worst_mae"]
    assert (same["difference"], same["verdict"]) == ([0, 0, 0], "not told apart")


def test_a_failure_counts_against_a_judge_when_two_are_compared():
    trues = [1 + i % 5 for i in range(20)]
    found = differences(report(trues), report([None if i < 10 else t for i, t in enumerate(trues)]))
    assert found["greedy", "worst_mae"]["b"] == pytest.approx((4 + 3 + 2 + 3 + 4) * 2 / 20)
    assert found["greedy", "worst_mae"]["verdict"] == "a is better"
    assert found["greedy", "spearman"]["n"] == 10


def test_one_group_alone_tells_nothing_apart():
    a, b = report([5] * 4), report([4] * 4)
    for one in (*a["items"], *b["items"]):
        one["group"] = "the same"
    found = differences(a, b)["greedy", "worst_mae"]
    assert (found["difference"], found["verdict"]) == ([-1], "not told apart: no interval")


def sliced(a, b):
    """Differences of the greedy scores by slice and measure."""
    found = compare(a, b)["differences"]
    return {(d["slice"], d["measure"]): d for d in found if d["mode"] == "greedy"}


def test_the_parts_that_a_report_has_are_compared_too():
    a, b = report([3] * 20), report([1 + i % 5 if i % 2 else 3 for i in range(20)])
    for one in (*a["items"], *b["items"]):
        one["part"] = "hard" if int(one["id"]) % 2 else "easy"
    found = sliced(a, b)
    assert [name for name, measure in found if measure == "worst_mae"] == [
        "gen easy", "gen hard", "gen"
    ]  # fmt: skip
    assert found["gen easy", "worst_mae"]["difference"] == [0, 0, 0]
    assert found["gen hard", "worst_mae"]["verdict"] == "b is better"
    assert found["gen hard", "worst_mae"]["n"] == 10


def test_a_correlation_that_is_undefined_says_why():
    varied, constant = report([1 + i % 5 for i in range(20)]), report([3] * 20)
    nobody = report([None] * 20)
    for a, b, words in (
        (varied, constant, "b always the same"),
        (constant, constant, "a and b always the same"),
        (varied, nobody, "no item has a score of both"),
    ):
        found = sliced(a, b)["gen", "spearman"]
        assert (found["verdict"], found["difference"]) == (f"undefined: {words}", None)
    found = compare(varied, constant)
    json.dumps(found, allow_nan=False)
    row = "| gen | greedy | Spearman | 20 | 1.00 | - | - | undefined: b always the same |"
    assert row in comparison(found, "a", "b")
    for one in (*varied["items"], *constant["items"]):
        one["true"] = 2
    assert (
        sliced(varied, constant)["gen", "spearman"]["verdict"] == "undefined: one true score alone"
    )


def test_pairs_are_compared_by_their_preferences():
    def preferred(choices):
        items = [
            {"id": str(i), "axis": "overall", "part": str(i % 2), "group": str(i), "content": "c"}
            | {"human": "tie" if i == 9 else "first", "given": {"greedy": [1.0, choice]}}
            for i, choice in enumerate(choices)
        ]
        return {"bench": "pairwise", "items": items}

    found = differences(preferred([1.0] * 10), preferred([0.5] * 10))
    assert {d["n"] for d in found.values()} == {9}
    assert found["greedy", "strict"]["difference"] == [1, 1, 1]
    assert found["greedy", "half"]["difference"] == [0.5, 0.5, 0.5]
    assert found["greedy", "macro_strict"]["verdict"] == "b is better"
    by_slice = sliced(preferred([1.0] * 10), preferred([0.5] * 10))
    parts = [(name, measure) for name, measure in by_slice if name != "overall"]
    assert parts == [("overall 0", "strict"), ("overall 1", "strict")]
    assert (by_slice["overall 0", "strict"]["n"], by_slice["overall 1", "strict"]["n"]) == (5, 4)


def change(report_, **fields):
    report_["items"][3] |= fields
    return report_


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (report([3] * 4), "6 of 10 are in the first report alone: 4 (gen), 5 (gen), 6 (gen), ..."),
        (report([3] * 12), "2 of 12 are in the second report alone: 10 (gen), 11 (gen). Run both"),
        (report([3] * 10, bench="pairwise"), "not the same benchmark: firm_bench_gen and pairwise"),
        (change(report([3] * 10), true=1), "3 (gen) has true 4 in the first report and 1 in the"),
        (change(report([3] * 10), content="x"), "3 (gen) has content '3' in the first report and"),
    ],
)
def test_other_items_are_refused_and_named(other, words):
    with pytest.raises(NotComparable) as caught:
        compare(report([3] * 10), other)
    assert words in str(caught.value)
