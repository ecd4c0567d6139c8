"""What a monitor reads of the reward server (Prometheus)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import prometheus_client as prometheus
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from foundry.rewards.admission import Room
from pipelines.endpoints import ServerState

# The variable that names where several workers keep their counts.
_SHARED = "PROMETHEUS_MULTIPROC_DIR"
_LATENCY_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class _Now(Collector):
    """What is so at the moment; nothing of it is kept."""

    def __init__(self, room: Room, servers: Sequence[ServerState]) -> None:
        self._room, self._servers = room, servers

    def collect(self) -> Iterator[Metric]:
        for name, about, value in (
            ("reward_questions_at_work", "Without an answer", self._room.questions),
            ("reward_bytes_held", "Of bodies", self._room.held),
            ("reward_judge_in_flight", "Requests", sum(one.in_flight for one in self._servers)),
            ("reward_judge_window", "Most", sum(one.window.limit for one in self._servers)),
        ):
            yield GaugeMetricFamily(name, about, value=value)


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
        self._now = prometheus.CollectorRegistry()
        self._now.register(_Now(room, servers))

    def page(self) -> bytes:
        """As Prometheus reads it, of all workers; what the judge is sent, of this one."""
        counted = self.registry
        if _SHARED in os.environ:
            counted = prometheus.CollectorRegistry()
            MultiProcessCollector(counted)
        return prometheus.generate_latest(counted) + prometheus.generate_latest(self._now)

    @contextmanager
    def request(self, route: str) -> Iterator[Status]:
        """Times a request; what it ends with is to be set."""
        started, status = time.monotonic(), Status()
        try:
            yield status
        except Exception:
            status.code = 500
            raise
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
