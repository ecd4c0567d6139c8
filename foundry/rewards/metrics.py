"""What a monitor reads of the reward server (Prometheus)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import prometheus_client as prometheus

from foundry.rewards.admission import Room
from pipelines.endpoints import ServerState

_LATENCY_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


@dataclass
class Status:
    """The HTTP status that a request ends with; 499 where its client did not wait for one."""

    code: int = 499


class Metrics:
    """Counters and histograms of a server, on a registry of their own.

    `comparisons` are of win rates, by outcome; `fallbacks` are items of trainers' formats that were
    given the mean of their group.
    """

    def __init__(self, room: Room, servers: Sequence[ServerState]) -> None:
        self.registry = registry = prometheus.CollectorRegistry()
        count = partial(prometheus.Counter, registry=registry)
        histogram = partial(prometheus.Histogram, registry=registry)
        self._items = count("reward_items", "Items answered", ["task", "outcome"])
        self.comparisons = count("reward_comparisons", "Of two pictures", ["outcome"])
        self.fallbacks = count("reward_fallback", "Items given the mean of their group")
        self._requests = histogram(
            "reward_request_seconds", "Of a request", ["route", "status"], buckets=_LATENCY_S
        )
        self._rewards = histogram("reward_value", "Rewards", buckets=[n / 10 for n in range(11)])
        self._scores = histogram(
            "reward_score", "Of an axis", ["axis"], buckets=[1 + n / 2 for n in range(9)]
        )
        for name, about, value in (
            ("reward_questions_at_work", "Without an answer", lambda: room.questions),
            ("reward_bytes_held", "Of bodies", lambda: room.held),
            ("reward_judge_in_flight", "Requests", lambda: sum(one.in_flight for one in servers)),
            ("reward_judge_window", "Most of them", lambda: sum(s.window.limit for s in servers)),
        ):
            prometheus.Gauge(name, about, registry=registry).set_function(value)

    def page(self) -> bytes:
        """As Prometheus reads it."""
        return prometheus.generate_latest(self.registry)

    @contextmanager
    def request(self, route: str) -> Iterator[Status]:
        """Times a request; what it ends with is to be set."""
        started, status = time.monotonic(), Status()
        try:
            yield status
        finally:
            took_s = time.monotonic() - started
            self._requests.labels(route, str(status.code)).observe(took_s)

    def answered(self, task: str, answer: Mapping[str, Any]) -> None:
        """Counts an item's answer; no words of a client become a label."""
        self._items.labels(task, answer["reason"] or "ok").inc()
        for axis, score in answer["scores"].items():
            if score["valid"]:
                self._scores.labels(axis).observe(score["value"])
        if answer["valid"]:
            self._rewards.observe(answer["reward"])
