"""Rewards and advantages against values worked by hand, and what must hold for all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from foundry.rewards.formulas import (
    cme,
    editscore,
    group_advantages,
    normalise,
    preference_advantages,
    qma,
    weighted_advantages,
    weighted_sum,
    win_rates,
)

SCORES = st.floats(1, 5)
NAN = float("nan")


@pytest.mark.parametrize(
    ("execution", "consistency", "reward"),
    [(5, 5, 1.0), (1, 5, 0.0), (5, 1, 0.6), (3, 3, 0.5 * 0.8), (2, 4, 0.25 * 0.9)],
)
def test_cme_by_hand(execution, consistency, reward):
    assert cme(execution, consistency) == pytest.approx(reward)


@pytest.mark.parametrize(
    ("alignment", "quality", "reward"), [(5, 5, 1.0), (1, 5, 0.0), (5, 1, 0.4), (3, 3, 0.5 * 0.7)]
)
def test_qma_by_hand(alignment, quality, reward):
    assert qma(alignment, quality) == pytest.approx(reward)


def test_an_equal_sum_pays_for_doing_nothing_and_cme_does_not():
    assert weighted_sum([1, 5], [0.5, 0.5]) == pytest.approx(0.5)
    assert cme(1, 5) == 0


def test_editscore_takes_the_lowest_of_each_side():
    assert editscore([[9, 4], [0, 10]], [[9, 16], [10, 10]]) == pytest.approx([6, 0])


@given(SCORES, SCORES, SCORES, st.floats(0, 1))
def test_more_of_either_never_lowers_a_reward(a, b, other, base):
    low, high = sorted((a, b))
    for formula in (cme, qma):
        assert formula(low, other, base=base) <= formula(high, other, base=base)
        assert formula(other, low, base=base) <= formula(other, high, base=base)
        assert 0 <= formula(a, b, base=base) <= 1


@pytest.mark.parametrize("score", [0, 0.999, 5.001, [3, 6], -1])
def test_a_score_off_the_scale_is_refused(score):
    with pytest.raises(ValueError, match="between 1 and 5"):
        normalise(score)


def test_what_is_not_known_stays_so():
    assert np.isnan(cme(NAN, 5))
    assert np.isnan(qma(5, NAN))
    assert np.isnan(weighted_sum([NAN, 5], [0.5, 0.5]))
    assert np.isnan(editscore([NAN, 5], [5, 5]))
    values, flat = group_advantages([1.0, NAN, 3.0])
    assert values[[0, 2]] == pytest.approx([-1, 1])
    assert np.isnan(values[1])
    assert not flat


def test_weights_that_are_no_shares_are_refused():
    with pytest.raises(ValueError, match=r"sum to 0\.9"):
        weighted_sum([1, 5], [0.5, 0.4])


def test_advantages_by_hand_and_a_group_without_spread():
    values, flat = group_advantages([[1.0, 2.0, 3.0, 2.0], [4.0, 4.0, 4.0, NAN], [NAN] * 4])
    assert values[0] == pytest.approx([-(2**0.5), 0, 2**0.5, 0])
    assert values[1][:3] == pytest.approx([0, 0, 0])
    assert np.isnan(values[1][3])
    assert np.isnan(values[2]).all()
    assert flat.tolist() == [False, True, True]


def test_win_rates_by_hand():
    wins = [[NAN, 1, 0.5], [0, NAN, NAN], [0.5, NAN, NAN]]
    assert win_rates(wins) == pytest.approx([0.75, 0, 0.5])
    # Its own pair is nobody's, whatever stands there.
    assert win_rates([[1, 1], [0, 1]]) == pytest.approx([1, 0])
    alone = win_rates([[NAN, NAN], [NAN, NAN]])
    assert np.isnan(alone).all()


def test_preferences_weigh_categories_and_the_whole():
    first, second = [[NAN, 1], [0, NAN]], [[NAN, 0], [1, NAN]]
    values, flat = preference_advantages([first, first, second], first)
    assert values == pytest.approx([0.7 / 3 + 0.3, -0.7 / 3 - 0.3])
    assert not flat
    tie = [[NAN, 0.5], [0.5, NAN]]
    values, flat = preference_advantages([tie], tie)
    assert values == pytest.approx([0, 0])
    assert flat


def test_a_reward_of_wide_spread_does_not_rule():
    values, flat = weighted_advantages([[0, 100], [0.2, 0.1]], [0.5, 0.5])
    assert values == pytest.approx([0, 0])
    assert not flat
    assert weighted_advantages([[1, 1], [2, 2]], [0.5, 0.5]).no_spread


@given(
    arrays(np.float64, (3, 6), elements=st.floats(-1e3, 1e3)), st.floats(0.1, 50), st.floats(-9, 9)
)
def test_advantages_have_mean_0_and_do_not_feel_scale_or_shift(rewards, scale, shift):
    values, flat = group_advantages(rewards)
    assert values.mean(axis=-1) == pytest.approx(0, abs=1e-6)
    spread = rewards.std(axis=-1) > 1e-3
    assert values[spread].std(axis=-1) == pytest.approx(1)
    assert group_advantages(rewards * scale + shift).values[spread] == pytest.approx(
        values[spread], abs=1e-5
    )
    assert values[flat] == pytest.approx(0)
