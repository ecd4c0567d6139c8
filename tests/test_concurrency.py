"""How many requests in flight: up while it pays, down when told, never outside its bounds."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.concurrency import (
    PLATEAU_S,
    START,
    after_back_pressure,
    first_window,
    next_window,
)
from pipelines.endpoints import parse_requests_waiting


def steps(rate_at, seconds, *, max_in_flight=1000, waiting=None, was_full=True, window=None):
    """The limits, second by second, of a server that finishes `rate_at(limit)` requests a second.

    The window counts on where one is given.
    """
    window = window or first_window(max_in_flight, now_s=0.0)
    limits, start = [], int(window.since_s)
    for now in range(start + 1, start + seconds + 1):
        window = replace(window, done=window.done + int(rate_at(window.limit)))
        window = next_window(window, now_s=float(now), was_full=was_full, waiting=waiting)
        limits.append(window.limit)
    return limits, window


def test_it_rises_while_throughput_rises():
    limits, window = steps(lambda limit: 10 * limit, 60)
    assert limits == sorted(limits)
    assert limits[-1] == window.max_in_flight == 1000


def test_it_stops_at_a_plateau_and_looks_again_after_a_minute():
    limits, window = steps(lambda limit: 10 * min(limit, 60), int(PLATEAU_S))
    assert START < limits[-1] <= 110
    assert limits[10:] == limits[10:11] * len(limits[10:])
    later, _ = steps(lambda limit: 10 * limit, 30, window=window)
    assert later[-1] > limits[-1]


def test_a_queue_at_the_server_holds_it():
    limits, _ = steps(lambda limit: 10 * limit, 60, waiting=1)
    assert set(limits) == {START}
    limits, _ = steps(lambda limit: 10 * limit, 60, waiting=0)
    assert limits[-1] == 1000


def test_with_an_empty_queue_it_rises_through_small_gains_and_stops_at_a_fall():
    def gentle(limit):
        return 2000 * limit / (limit + 20)

    assert steps(gentle, 60)[0][-1] < 256
    assert steps(gentle, 60, max_in_flight=256, waiting=0)[0][-1] == 256
    limits, _ = steps(lambda limit: 1000 if limit < 60 else 600, 50, waiting=0)
    assert limits[-1] < 120


def test_a_limit_that_holds_nothing_back_is_left_alone():
    limits, _ = steps(lambda limit: 10 * limit, 60, was_full=False)
    assert set(limits) == {START}


def test_too_few_requests_are_no_measurement():
    assert set(steps(lambda limit: 1, 50)[0]) == {START}


def test_back_pressure_halves_it_and_rests_before_it_rises_again():
    window = replace(first_window(256, now_s=0.0), limit=100)
    window = after_back_pressure(window, now_s=10.0)
    assert window.limit == 50
    limits, _ = steps(lambda limit: 10 * limit, 10, window=window)
    assert limits[:4] == [50] * 4
    assert limits[-1] > 50


def test_it_starts_within_the_recipes_limit():
    assert first_window(4, now_s=0.0).limit == 4
    assert first_window(10_000, now_s=0.0).limit == START


events = st.lists(
    st.tuples(
        st.booleans(),
        st.floats(0, 30),
        st.integers(0, 5000),
        st.booleans(),
        st.one_of(st.none(), st.integers(0, 50)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(most=st.integers(1, 2000), events=events)
def test_it_never_leaves_1_to_the_maximum(most, events):
    now, window = 0.0, first_window(most, now_s=0.0)
    for pushed_back, later_s, done, was_full, waiting in events:
        now += later_s
        before = window.limit
        if pushed_back:
            window = after_back_pressure(window, now)
            assert window.limit == max(1, before // 2)
        else:
            window = replace(window, done=window.done + done)
            window = next_window(window, now_s=now, was_full=was_full, waiting=waiting)
            assert window.limit >= before
            if waiting or not was_full:
                assert window.limit == before
        assert 1 <= window.limit <= most == window.max_in_flight


@pytest.mark.parametrize(
    ("page", "waiting"),
    [
        ('vllm:num_requests_waiting{engine="0"} 3.0\nvllm:num_requests_waiting{engine="1"} 2', 5),
        ("vllm:num_requests_waiting 0.0", 0),
        ("vllm:num_requests_waiting_by_reason 9\n# vllm:num_requests_waiting 9", None),
        ("vllm:num_requests_waiting NaN", None),
        ("vllm:num_requests_waiting +Inf", None),
        ("vllm:num_requests_waiting many", None),
        ("<html></html>", None),
        ("", None),
    ],
)
def test_the_servers_queue_is_read_or_not_known(page, waiting):
    assert parse_requests_waiting(page) == waiting
