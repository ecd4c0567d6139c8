"""Which rollouts of a row make pairs: cases worked by hand, and laws that always hold."""

import math
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.dataset_settings import Balance
from pipelines.preferences.rules import (
    PairRules,
    Rollout,
    find_candidates,
    is_correct,
    settle_comparison,
)
from pipelines.preferences.write import balance_pairs


def rollouts(*said):
    """Rollouts from scores, or from (score, reasoning)."""
    pairs = [one if isinstance(one, tuple) else (one, f"It is {i}.") for i, one in enumerate(said)]
    return [Rollout(index=i, score=s, reasoning=text) for i, (s, text) in enumerate(pairs)]


def candidates(said, label, **rules):
    return find_candidates(rollouts(*said), label, rules=PairRules(**rules), row="r/execution")


def scores(found):
    return [(pair.chosen.score, pair.rejected.score) for pair in found.pairs]


# Worked by hand.


@pytest.mark.parametrize(
    ("said", "label", "rules", "wanted"),
    [
        # The one furthest off is rejected first: 1 is three away from 4, 3 and 5 one.
        ((4, 3, 1, 5), 4, {"most_pairs": 1}, [(4, 1)]),
        # Each rollout stands in one pair, so the second correct one takes the next furthest.
        ((4, 4, 3, 1), 4, {"most_pairs": 2}, [(4, 1), (4, 3)]),
        # One correct rollout makes one pair, however many are wrong.
        ((2, 5, 5, 4), 2, {"most_pairs": 4}, [(2, 5)]),
        # Within the tolerance 3 and 4 are correct; 4 against 1 leads by 3, 3 against 1 by 2.
        ((3, 4, 1), 4, {"tolerance": 1, "most_pairs": 1}, [(4, 1)]),
        # Without it 3 is wrong as well, and 1 is further off.
        ((3, 4, 1), 4, {"most_pairs": 1}, [(4, 1)]),
        # A label of 1 can only be overshot.
        ((1, 2, 5), 1, {"most_pairs": 1}, [(1, 5)]),
    ],
)
def test_correct_rollouts_are_paired_with_those_furthest_off(said, label, rules, wanted):
    assert scores(candidates(said, label, **rules)) == wanted


def test_a_row_without_a_correct_rollout_is_hard():
    found = candidates((1, 2, 5), 4)
    assert found.hard
    assert (found.pairs, found.to_compare, found.reason) == ((), (), None)


def test_correct_rollouts_are_compared_for_the_places_that_contrasts_leave():
    found = candidates((4, 4, 4, 1), 4, most_pairs=2)
    assert scores(found) == [(4, 1)]
    assert [(one.score, other.score) for one, other in found.to_compare] == [(4, 4)]
    assert candidates((4, 4, 1, 2), 4, most_pairs=2).to_compare == ()
    assert len(candidates((4, 4, 4, 4), 4, most_pairs=2).to_compare) == 2


@pytest.mark.parametrize(
    ("said", "rules", "reason"),
    [
        ((4,), {}, "pair:one_answer"),
        # The same text thrice, but for a full stop and capitals.
        (((4, "It is red."), (4, "it is RED"), (4, "It is red.")), {}, "pair:one_answer"),
        (((4, "a" * 300), (1, "b" * 99)), {}, "pair:length_difference"),
        (((4, "a" * 300), (4, "b" * 99)), {}, "pair:length_difference"),
        # Both correct within the tolerance: which is better is for the scores to say, not the text.
        ((4, 5), {"tolerance": 1}, "pair:scores_differ"),
    ],
)
def test_a_row_without_a_pair_says_why(said, rules, reason):
    found = candidates(said, 4, **rules)
    assert (found.pairs, found.to_compare, found.hard) == ((), (), False)
    assert found.reason == reason


def test_rationales_may_differ_by_just_the_allowed_length():
    said = ((4, "a" * 50), (1, "b" * 60))
    assert scores(candidates(said, 4, most_length_difference=10)) == [(4, 1)]
    assert candidates(said, 4, most_length_difference=9).reason == "pair:length_difference"


def test_a_rollout_said_twice_counts_once():
    found = candidates(((4, "x"), (4, "x"), (1, "y"), (1, "y")), 4, most_pairs=2)
    assert scores(found) == [(4, 1)]
    assert found.to_compare == ()


@pytest.mark.parametrize(
    ("answer", "swapped", "wanted"),
    [
        ("first", "second", "one"),
        ("second", "first", "other"),
        ("neither", "neither", "compare:neither"),
        # A judge that likes a place, whatever stands there.
        ("first", "first", "compare:orders_disagree"),
        ("second", "second", "compare:orders_disagree"),
        ("first", "neither", "compare:orders_disagree"),
        ("neither", "first", "compare:orders_disagree"),
    ],
)
def test_a_pair_is_made_only_where_both_orders_agree(answer, swapped, wanted):
    one, other = rollouts((4, "one"), (4, "other"))
    found = settle_comparison(one, other, answer, swapped)
    if wanted.startswith("compare:"):
        assert found == wanted
    else:
        assert found.chosen.reasoning == wanted
        assert {found.chosen, found.rejected} == {one, other}


# Laws.

texts = st.text("ab ", min_size=1, max_size=30)
some_rollouts = st.lists(st.tuples(st.integers(1, 5), texts), min_size=1, max_size=12)
some_rules = st.builds(
    PairRules,
    tolerance=st.integers(0, 2),
    most_pairs=st.integers(1, 6),
    most_length_difference=st.integers(0, 30),
    seed=st.integers(0, 3),
)
labels = st.integers(1, 5)


@given(some_rollouts, labels, some_rules)
def test_what_is_chosen_is_correct_and_what_is_rejected_further_off(said, label, rules):
    found = find_candidates(rollouts(*said), label, rules=rules, row="r")
    for pair in found.pairs:
        assert is_correct(pair.chosen.score, label, rules)
        assert not is_correct(pair.rejected.score, label, rules)
        assert abs(pair.rejected.score - label) > abs(pair.chosen.score - label)
    for one, other in found.to_compare:
        assert is_correct(one.score, label, rules)
        assert one.score == other.score
        assert one.reasoning != other.reasoning


@given(some_rollouts, labels, some_rules)
def test_the_caps_hold(said, label, rules):
    found = find_candidates(rollouts(*said), label, rules=rules, row="r")
    both = [(pair.chosen, pair.rejected) for pair in found.pairs] + list(found.to_compare)
    assert len(both) <= rules.most_pairs
    for one, other in both:
        difference = abs(len(one.reasoning) - len(other.reasoning))
        assert difference <= rules.most_length_difference


@given(some_rollouts, labels, some_rules)
def test_no_two_pairs_say_the_same_in_either_order(said, label, rules):
    found = find_candidates(rollouts(*said), label, rules=rules, row="r")
    both = [(pair.chosen, pair.rejected) for pair in found.pairs] + list(found.to_compare)
    for one, other in combinations([{a.index, b.index} for a, b in both], 2):
        assert one != other
    for group in ([{a.index, b.index} for a, b in found.to_compare],
                  [{p.chosen.index, p.rejected.index} for p in found.pairs]):  # fmt: skip
        assert all(one.isdisjoint(other) for one, other in combinations(group, 2))


@given(some_rollouts, labels, some_rules)
def test_every_row_ends_in_one_way(said, label, rules):
    found = find_candidates(rollouts(*said), label, rules=rules, row="r")
    ways = [bool(found.pairs or found.to_compare), found.hard, found.reason is not None]
    assert ways.count(True) == 1


@given(some_rollouts, labels, some_rules)
def test_the_same_seed_makes_the_same_pairs(said, label, rules):
    one, other = (find_candidates(rollouts(*said), label, rules=rules, row="r") for _ in range(2))
    assert one == other


def test_another_seed_or_row_draws_others():
    said = [4] * 6 + [1] * 6
    made = {
        (seed, row): find_candidates(
            rollouts(*said), 4, rules=PairRules(seed=seed, most_pairs=1), row=row
        ).pairs
        for seed in range(4)
        for row in ("r", "s")
    }
    assert len(set(made.values())) > 4


some_pairs = st.lists(
    st.tuples(
        st.sampled_from(["train", "validation"]),
        st.sampled_from(["execution", "consistency"]),
        labels,
    ),
    max_size=60,
).map(lambda rows: [(f"row-{i}/0", *row) for i, row in enumerate(rows)])


@given(some_pairs, st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 3))
def test_labels_are_as_even_as_the_share_that_must_stay_allows(pairs, least_kept, seed):
    targets = dict.fromkeys(("execution", "consistency"), "uniform")
    balance = Balance(targets=targets, tolerance=0.1, least_kept=least_kept, seed=seed)
    stands, done = balance_pairs(pairs, balance)
    for one in done:
        kept = Counter(
            label
            for name, split, axis, label in pairs
            if name in stands and (split, axis) == (one.split, one.axis)
        )
        assert [kept[label] for label in range(1, 6)] == one.after
        n, before = sum(one.after), sum(one.before)
        # Even but for a row that is not to be halved, or no more than must stay.
        even = one.largest_deviation <= 0.1 + 1 / max(n, 1)
        assert even or n <= math.ceil(least_kept * before)
    assert balance_pairs(pairs, balance)[0] == stands


@given(some_pairs, some_pairs)
def test_pairs_of_another_axis_change_nothing(pairs, more):
    balance = Balance(targets=dict.fromkeys(("execution", "consistency"), "uniform"))
    mine = [pair for pair in pairs if pair[2] == "execution"]
    other = [(f"more-{name}", split, "consistency", label) for name, split, _, label in more]
    alone, together = balance_pairs(mine, balance)[0], balance_pairs(mine + other, balance)[0]
    assert {name for name in together if not name.startswith("more-")} == alone
