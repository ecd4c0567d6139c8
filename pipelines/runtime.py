"""What a process owns while it works on a build: one event loop, its clients, limits and servers.

Shard tasks run in threads and submit to the loop. A server is started, and an endpoint probed, when
the first question for its role comes: with nothing to ask, nothing is started.
"""

from __future__ import annotations

import asyncio
import gc
import math
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from uvloop import new_event_loop

from pipelines.answers import Row
from pipelines.chat import Chat
from pipelines.connecting import Servers, connect, request_headers
from pipelines.progress import Counters
from pipelines.recipe import RunSettings
from pipelines.stages import Stage

T = TypeVar("T")
# Below this many answers a share says little.
FEWEST_ANSWERS_TO_STOP = 100
GC_THRESHOLD = (50_000, 20, 20)
# Roles that are shown pictures.
SEEING = ("judge", "student")


class TooManyRejects(Exception):
    """More answers were rejected than the recipe allows; going on would waste the servers."""


class Interrupted(Exception):
    """The run is being taken down; what is finished is kept."""


class Runtime:
    """The clients of one build in this process. Use as a context manager, from any thread.

    `pictures` is how many a question about a row has; `counters` shows progress; `say` writes one
    line to the log; `servers` may be shared with other builds, and is then not closed here.
    """

    def __init__(
        self,
        recipe: RunSettings,
        build: Path,
        *,
        pictures: int,
        counters: Counters,
        say: Callable[[str], None],
        servers: Servers | None = None,
    ) -> None:
        self.recipe = recipe
        self.build = build
        self.pictures = pictures
        self.counters = counters
        self.say = say
        self.probes: dict[str, list[dict[str, Any]]] = {}
        self.requests: dict[str, int] = {}
        self.stopped_by: BaseException | None = None
        self.shard_slots = threading.Semaphore(recipe.shards_in_flight)
        self._servers = servers or Servers()
        self._owns_servers = servers is None
        self._submitting = threading.Lock()
        self._closing = False
        self._chats: dict[str, asyncio.Task[Chat]] = {}
        self._ready: dict[str, Chat] = {}
        self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chat", daemon=True)

    def __enter__(self) -> Runtime:
        # Replies are parsed into thousands of objects a millisecond and leave no cycles: at the
        # usual thresholds the search for some costs a tenth of the client's time.
        self._gc_threshold = gc.get_threshold()
        gc.set_threshold(*GC_THRESHOLD)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._submitting:
            # From here on no shard begins; those that did are cancelled by `_close`.
            self._closing = True
            closing = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
        try:
            closing.result()
        finally:
            gc.set_threshold(*self._gc_threshold)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            if self._owns_servers:
                self._servers.close()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop, from another thread. Raises Interrupted when it closes."""
        with self._submitting:
            if self._closing:
                work.close()
                raise Interrupted("the run was interrupted")
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def chat_of(self, role: str) -> Chat:
        """The client of a role, made when first asked for.

        Raises LaunchFailed, EndpointUnfit, or EndpointDown, each saying what to do.
        """
        if role in self._ready:
            return self._ready[role]
        asked, roles = role, self.recipe.roles()
        for seeing in SEEING:
            # One server, one limit: two clients would double what `max_in_flight` allows.
            if roles[asked] == roles.get(seeing):
                role = seeing
                break
        if role not in self._chats:
            self._chats[role] = asyncio.ensure_future(self._connect(role))
        self._ready[asked] = await asyncio.shield(self._chats[role])
        return self._ready[asked]

    async def _connect(self, role: str) -> Chat:
        return await connect(
            role,
            self.recipe.roles()[role],
            servers=self._servers,
            log_path=self.build / "logs" / f"{role}-server.log",
            pictures=self.pictures if role in SEEING else 0,
            outage_timeout_s=self.recipe.outage_timeout_s,
            say=self.say,
            on_request=self._count_request,
            on_probe=self.probes.setdefault(role, []).append,
        )

    def _count_request(self, url: str) -> None:
        self.requests[url] = self.requests.get(url, 0) + 1

    def on_answer(self, stage: Stage, row: Row, asked: bool) -> None:
        """Count an answer; stop the run when too many are rejected.

        Raises TooManyRejects once a stage has enough answers to tell.
        """
        rejected = row["status"] == "rejected"
        self.counters.add(stage.table, asked=asked, rejected=rejected, bad=len(row["faults"]))
        counter = self.counters.stages[stage.table]
        limit = self.recipe.reject_share
        if counter.done >= FEWEST_ANSWERS_TO_STOP and is_surely_over(
            counter.rejected, counter.done, limit
        ):
            raise TooManyRejects(
                f"{stage.table}: {counter.rejected} of {counter.done} answers rejected, more than "
                f"reject_share: {limit:g}; last: {row['reason']}: {row['detail']}"
            )

    async def _close(self) -> None:
        # Shards of a run that was interrupted: their threads wait for them, so they must end.
        chats = set(self._chats.values())
        left = asyncio.all_tasks() - {asyncio.current_task()} - chats
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for task in self._chats.values():
            if task.done() and not task.cancelled() and task.exception() is None:
                await task.result().pool.close()
            else:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


def is_surely_over(rejected: int, done: int, limit: float) -> bool:
    """Whether so many rejects speak for a share above `limit`, and not for chance.

    More than four standard deviations of a share of `limit` above it: asked after every answer, a
    smaller margin would in time stop many a run that ends well below the limit.
    """
    return rejected - limit * done > 4 * math.sqrt(limit * (1 - limit) * done)


def check_keys(recipe: RunSettings) -> None:
    """Raises BuildRefused naming a variable of `api_key_env` that is not set."""
    for pool in recipe.roles().values():
        for endpoint in pool:
            request_headers(endpoint)
