"""A pool of endpoints that serve one model: who takes the next request, and who is in trouble.

One event loop owns a pool. Follow-ups on a picture go to the endpoint that has it and before new
work; everything else goes to the endpoint with the most room. An endpoint in trouble is asked one
request at a time, after a jittered pause, until one succeeds.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import replace

import aiohttp

from pipelines.concurrency import Window, after_back_pressure, first_window, next_window

REMEMBERED_PICTURES = 20_000
LONGEST_PAUSE_S = 30.0


class ServerState:
    """One endpoint of a pool while a run lasts."""

    def __init__(
        self,
        *,
        url: str,
        headers: Mapping[str, str],
        pictures: str,
        max_in_flight: int,
        timeout_s: float,
        check_running: Callable[[], None] = lambda: None,
    ) -> None:
        self.url = url.rstrip("/")
        self.pictures = pictures
        # Raises when a server of our own has ended: there is nothing to wait for then.
        self.check_running = check_running
        self.window: Window = first_window(max_in_flight, time.monotonic())
        self.in_flight = 0
        self.was_full = False
        self.failures = 0
        self.not_before_s = 0.0
        self.last_success_s = time.monotonic()
        self.halved_at_s = -math.inf
        self.followers: deque[asyncio.Future[ServerState]] = deque()
        # Pictures this server has in its cache, as far as we know; least recently used first.
        self.known_pictures: OrderedDict[str, None] = OrderedDict()
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=10),
            headers=dict(headers),
        )

    @property
    def in_trouble(self) -> bool:
        """Whether its last request failed for a reason of the server's own."""
        return self.failures > 0

    def room(self, now_s: float) -> float:
        """The free share of its limit, 0 when it must not be asked now."""
        limit = 1 if self.in_trouble else self.window.limit
        if now_s < self.not_before_s or self.in_flight >= limit:
            return 0.0
        return (limit - self.in_flight) / limit

    def open_wide(self) -> None:
        """Begin at its limit: whoever waits for an answer had better queue at the server."""
        self.window = replace(self.window, limit=self.window.max_in_flight)

    def remember(self, picture_sha256: str) -> None:
        """Note that the server was sent a picture."""
        self.known_pictures[picture_sha256] = None
        self.known_pictures.move_to_end(picture_sha256)
        if len(self.known_pictures) > REMEMBERED_PICTURES:
            self.known_pictures.popitem(last=False)


class EndpointPool:
    """Hands out servers and takes them back with what became of the request."""

    def __init__(self, servers: list[ServerState]) -> None:
        self.servers = servers
        self._anyone: deque[asyncio.Future[ServerState]] = deque()
        self._watch = asyncio.ensure_future(self._adapt())
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self, preferred: ServerState | None = None) -> ServerState:
        """Wait for a server that may be asked now; give it back with `release`."""
        now = time.monotonic()
        if preferred is not None and not preferred.in_trouble and now >= preferred.not_before_s:
            candidates, queue = [preferred], preferred.followers
        else:
            candidates, queue = self.servers, self._anyone
        best = max(candidates, key=lambda server: server.room(now))
        if best.room(now) > 0 and not queue:
            best.in_flight += 1
            return best
        best.was_full = True
        future: asyncio.Future[ServerState] = asyncio.get_running_loop().create_future()
        queue.append(future)
        self._hand_out()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.release(future.result())
            raise

    def release(self, server: ServerState) -> None:
        """Give a server back."""
        server.in_flight -= 1
        self._hand_out()

    def succeeded(self, server: ServerState) -> None:
        """The server answered: it is out of trouble."""
        server.failures = 0
        server.last_success_s = time.monotonic()
        server.window = _count(server.window)

    def pushed_back(self, server: ServerState, retry_after_s: float | None) -> None:
        """The server said 429 or 503: ask less, and not before it allows."""
        now = time.monotonic()
        # One storm of refusals is one signal, not a halving for each request in flight.
        if now - server.halved_at_s > 1.0:
            server.halved_at_s = now
            server.window = after_back_pressure(server.window, now)
        pause = retry_after_s if retry_after_s is not None else random.uniform(0.2, 1.0)
        server.not_before_s = max(server.not_before_s, now + pause)
        self._let_go(server)

    def failed(self, server: ServerState) -> None:
        """The server is in trouble: one request at a time, after a growing jittered pause."""
        now = time.monotonic()
        if now >= server.not_before_s:
            server.failures += 1
            longest = min(LONGEST_PAUSE_S, 0.5 * 2 ** min(server.failures, 10))
            server.not_before_s = now + random.uniform(longest / 2, longest)
        # A server that restarts has an empty picture cache.
        server.known_pictures.clear()
        self._let_go(server)

    def _let_go(self, server: ServerState) -> None:
        """A server that must pause keeps no follow-up waiting: another may take it, first."""
        self._anyone.extendleft(reversed(server.followers))
        server.followers.clear()
        self._hand_out()

    async def close(self) -> None:
        """Stop watching and close the connections."""
        self._watch.cancel()
        if self._timer:
            self._timer.cancel()
        for server in self.servers:
            await server.session.close()

    def _hand_out(self) -> None:
        now = time.monotonic()
        for server in self.servers:
            while server.followers and server.room(now) > 0:
                _give(server.followers, server)
        while self._anyone:
            best = max(self.servers, key=lambda server: server.room(now))
            if best.room(now) <= 0:
                best.was_full = True
                break
            _give(self._anyone, best)
        self._wake_later(now)

    def _wake_later(self, now: float) -> None:
        """A pause that ends must hand out by itself: no release may be coming."""
        pauses = [s.not_before_s for s in self.servers if s.not_before_s > now]
        queued = self._anyone or any(s.followers for s in self.servers)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if pauses and queued:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(pauses) - now + 0.001, self._hand_out)

    async def _adapt(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for server in self.servers:
                now = time.monotonic()
                waiting = await _requests_waiting(server) if server.was_full else None
                before = server.window.limit
                server.window = next_window(
                    server.window, now_s=now, was_full=server.was_full, waiting=waiting
                )
                server.was_full = False
                if server.window.limit > before:
                    self._hand_out()


def _give(queue: deque[asyncio.Future[ServerState]], server: ServerState) -> None:
    future = queue.popleft()
    if not future.done():
        server.in_flight += 1
        future.set_result(server)


def _count(window: Window) -> Window:
    # A plain rebuild: dataclasses.replace costs more than the rest of a request's bookkeeping.
    return Window(
        limit=window.limit,
        max_in_flight=window.max_in_flight,
        rate_before=window.rate_before,
        since_s=window.since_s,
        done=window.done + 1,
        resting_until_s=window.resting_until_s,
    )


async def _requests_waiting(server: ServerState) -> int | None:
    """The server's own queue from `/metrics`, None where it does not say."""
    url = server.url.removesuffix("/v1") + "/metrics"
    try:
        async with server.session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as response:
            text = await response.text() if response.status == 200 else ""
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None
    return parse_requests_waiting(text)


def parse_requests_waiting(metrics: str) -> int | None:
    """Sum of `vllm:num_requests_waiting` over a Prometheus text page, None if it is not there."""
    found: list[float] = []
    for line in metrics.splitlines():
        if line.startswith(("vllm:num_requests_waiting{", "vllm:num_requests_waiting ")):
            try:
                found.append(float(line.rsplit(" ", 1)[1]))
            except ValueError:
                return None
    total = sum(found)
    return int(total) if found and math.isfinite(total) else None
