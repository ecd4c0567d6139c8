"""Votes: majority, ties to the score nearest the mean, and nothing invented."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.votes import majority, settle_votes

scores = st.lists(st.integers(1, 5), min_size=1, max_size=16)


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ([3], 3),
        ([5, 5, 1], 5),
        ([1, 1, 2, 5, 5], 1),  # mean 2.8: 1 is 1.8 away, 5 is 2.2
        ([1, 1, 5, 5, 5, 1, 4], 5),  # mean 3.14
        ([2, 4], 2),  # mean 3, both as near: the lower
        ([1, 2, 3, 4, 5], 3),
        ([4, 4, 5, 5, 1], 4),  # mean 3.8
    ],
)
def test_majority_by_hand(votes, expected):
    assert majority(votes) == expected


@pytest.mark.parametrize("votes", [[], [0], [6], [3, 0]])
def test_no_votes_or_a_vote_outside_1_to_5_is_an_error(votes):
    with pytest.raises(ValueError, match="votes must be 1-5"):
        majority(votes)


@given(scores)
def test_the_row_keeps_every_vote_and_the_reasoning_of_one_that_gave_its_score(votes):
    vote = settle_votes(votes, [None] * len(votes))
    assert vote.scores == votes
    assert votes[vote.index] == vote.score
    assert votes.count(vote.score) == max(votes.count(s) for s in votes)
    assert 0 <= vote.spread <= 2
    assert vote.probs is None
    assert vote.expected is None


def test_probabilities_are_averaged_over_the_votes():
    vote = settle_votes([5, 4], [[0, 0, 0, 0, 1.0], [0, 0, 0, 0.5, 0.5]])
    assert vote.probs == [0, 0, 0, 0.25, 0.75]
    assert vote.expected == pytest.approx(4.75)
    assert vote.spread == pytest.approx(0.5)


def test_one_vote_without_probabilities_leaves_the_row_without():
    assert settle_votes([5, 4], [[0, 0, 0, 0, 1.0], None]).probs is None


@given(st.lists(st.integers(1, 5), min_size=1), st.randoms())
def test_the_order_of_the_votes_does_not_change_the_score(votes, random):
    shuffled = list(votes)
    random.shuffle(shuffled)
    assert majority(shuffled) == majority(votes)
    assert math.isclose(
        settle_votes(shuffled, [None] * len(votes)).spread,
        settle_votes(votes, [None] * len(votes)).spread,
    )
