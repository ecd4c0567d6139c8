"""How many requests an endpoint should have in flight: a pure rule, applied about once a second.

Concurrency rises while throughput rises. It stops at a plateau, at a waiting queue above zero, or
at the limit of the recipe; back-pressure (429, 503) halves it. A plateau is hard to tell from the
noise of a few seconds, so where the server shows an empty queue only a clear fall counts as one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

START = 32
RISE = 1.5
# A step up must pay for itself by this much, or it was not worth taking.
WORTHWHILE_GAIN = 1.05
# With an empty queue the server itself says that it could take more.
CLEAR_FALL = 0.9
# A plateau is looked at again after this long: the load may have changed.
PLATEAU_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Window:
    """The state of the rule for one endpoint.

    `limit`: requests allowed in flight. `rate_before`: requests a second at the last smaller limit,
    None before the first step. `since_s`: when this limit was set. `done`: requests finished since
    then. `resting_until_s`: no rise before this time.
    """

    limit: int
    max_in_flight: int
    rate_before: float | None = None
    since_s: float = 0.0
    done: int = 0
    resting_until_s: float = 0.0


def first_window(max_in_flight: int, now_s: float) -> Window:
    """The window an endpoint begins with."""
    return Window(limit=min(START, max_in_flight), max_in_flight=max_in_flight, since_s=now_s)


def after_back_pressure(window: Window, now_s: float) -> Window:
    """Half the limit, at least 1, and a rest of five seconds before the next rise."""
    return replace(
        window,
        limit=max(1, window.limit // 2),
        rate_before=None,
        since_s=now_s,
        done=0,
        resting_until_s=now_s + 5.0,
    )


def next_window(window: Window, *, now_s: float, was_full: bool, waiting: int | None) -> Window:
    """The window for the next second.

    `was_full`: whether the limit held requests back; `waiting`: the server's own queue, None where
    it does not say. A measurement needs two seconds and two rounds of requests, or one round where
    the server shows an empty queue.
    """
    elapsed = now_s - window.since_s
    rounds, rise, least = (1, 2.0, CLEAR_FALL) if waiting == 0 else (2, RISE, WORTHWHILE_GAIN)
    if elapsed < 2.0 or window.done < rounds * window.limit:
        return window
    if now_s < window.resting_until_s or not was_full or window.limit >= window.max_in_flight:
        return replace(window, since_s=now_s, done=0)
    rate = window.done / elapsed
    if waiting is not None and waiting > 0:
        return replace(window, rate_before=rate, since_s=now_s, done=0)
    if window.rate_before is not None and rate < least * window.rate_before:
        return replace(
            window, rate_before=None, since_s=now_s, done=0, resting_until_s=now_s + PLATEAU_S
        )
    return replace(
        window,
        limit=min(window.max_in_flight, max(window.limit + 1, int(window.limit * rise))),
        rate_before=rate,
        since_s=now_s,
        done=0,
    )
