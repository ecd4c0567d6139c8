"""How much the workers of a server have taken on, counted in memory that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# What is counted: questions to the judge without an answer, bytes of bodies, requests with one, and
# whether the worker listens.
QUESTIONS, BYTES, REQUESTS, READY = _KINDS = range(4)


class Tally:
    """A worker changes its own counts alone, and looks at everybody's.

    `slots` are of all workers, one after another. Two that look at once may let in a little more
    than they should.
    """

    def __init__(self, slots: Any = None, worker: int = 0) -> None:
        self._slots = make_slots(list, 1) if slots is None else slots
        self._first = worker * len(_KINDS)

    def total(self, kind: int) -> int:
        """Over all workers."""
        return sum(self._slots[kind :: len(_KINDS)])

    def add(self, kind: int, n: int) -> None:
        """Count n more, or less, for this worker."""
        self._slots[self._first + kind] += n

    def clear(self) -> None:
        """Forget what this worker had taken on: it is no more."""
        for kind in _KINDS:
            self._slots[self._first + kind] = 0


def make_slots(make: Callable[[list[int]], Any], workers: int) -> Any:
    """Zeros for so many workers."""
    return make([0] * (workers * len(_KINDS)))
