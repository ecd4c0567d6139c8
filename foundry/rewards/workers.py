"""Several processes that serve at one address: started, started again, and ended together.

The parent binds the address, launches and stops the judge, and answers nobody. Each worker has its
share of the requests that the judge may have in flight.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import uvloop

from foundry.rewards.judges import Judges
from foundry.rewards.scoring import make_stages
from foundry.rewards.serving import Serving, addresses, connect_judge, serve
from foundry.rewards.settings import RewardSettings
from foundry.rewards.tally import READY, Tally, make_slots
from pipelines.connecting import Servers
from pipelines.launch import LaunchFailed

# Between two starts of one worker.
_AGAIN_S = 5.0
_LOOK_S = 0.5
# Nobody is launched any more when a launched server is asked for again.
_NO_LOG = Path(os.devnull)


def run_workers(serving: Serving, servers: Servers) -> None:
    """Serve with as many workers as the settings say, until SIGTERM or SIGINT.

    Raises LaunchFailed when the judges have ended or workers do not stay, OSError for an address
    that cannot be had, and as `connect` does.
    """
    with ExitStack() as stack:
        listening = [_bind(host, port) for _, host, port in addresses(serving.settings)]
        for one in listening:
            stack.callback(one.close)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(tempfile.TemporaryDirectory())
        settings, judges = uvloop.run(_settled(serving, servers))
        crew = Crew(settings, serving, listening)
        stack.callback(crew.kill)
        told: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: told.append(1))
        crew.start()
        while not told:
            if crew.keep():
                _say_where(serving, listening)
            if fault := judges.fault():
                # Twice: they need not wait for answers that nobody gives any more.
                crew.end([1, 1], listening)
                raise fault
        crew.end(told, listening)


class Crew:
    """The workers of a server."""

    def __init__(
        self, settings: RewardSettings, serving: Serving, listening: list[socket.socket]
    ) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._slots = make_slots(partial(self._context.RawArray, "q"), settings.workers)
        self._given = (settings, serving.token, serving.files, listening)
        self._workers: list[BaseProcess] = []
        self._begun: list[float] = []
        self._n = settings.workers
        self._served = False

    def start(self) -> None:
        """Start all."""
        for i in range(self._n):
            self._workers.append(self._make(i))
            self._begun.append(time.monotonic())

    def _make(self, i: int) -> BaseProcess:
        made = self._context.Process(
            target=_work, args=(*self._given, self._slots, i, os.getpid()), name=f"rewards-{i}"
        )
        made.start()
        return made

    def keep(self) -> bool:
        """Look for a moment, and start a worker again that has ended.

        Returns whether all listen now, the first time that they do. Raises LaunchFailed for one
        that ends before they did.
        """
        wait([one.sentinel for one in self._workers if one.is_alive()], timeout=_LOOK_S)
        for i, worker in enumerate(self._workers):
            if worker.is_alive():
                continue
            if not self._served:
                raise LaunchFailed(f"worker {i} ended with {worker.exitcode} before it served")
            Tally(self._slots, i).clear()
            # One that ends at once, for want of a judge, is not started again at once.
            if time.monotonic() - self._begun[i] > _AGAIN_S:
                self._workers[i], self._begun[i] = self._make(i), time.monotonic()
        first = not self._served and Tally(self._slots).total(READY) == self._n
        self._served |= first
        return first

    def end(self, told: list[int], listening: list[socket.socket]) -> None:
        """Tell all to end, as often as we were told, and wait until they have."""
        for one in listening:
            # Or new connections would wait here for an answer.
            one.close()
        passed = 0
        while alive := [worker for worker in self._workers if worker.is_alive()]:
            if passed < max(1, len(told)):
                passed += 1
                for worker in alive:
                    worker.terminate()
            wait([worker.sentinel for worker in alive], timeout=_LOOK_S)

    def kill(self) -> None:
        """End what is left, whatever it does."""
        for worker in self._workers:
            worker.kill()
            worker.join()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def _say_where(serving: Serving, listening: list[socket.socket]) -> None:
    for (name, _, _), one in zip(addresses(serving.settings), listening, strict=True):
        host, port = one.getsockname()[:2]
        serving.say(f"{name} at http://{host}:{port}, mode {serving.settings.mode}")


async def _settled(serving: Serving, servers: Servers) -> tuple[RewardSettings, Judges]:
    """The settings of a worker, whose judges run, and the judges."""
    settings = serving.settings
    chat = await connect_judge(settings, servers, serving.say)
    await chat.pool.close()
    revision = next(iter(make_stages(settings).values())).revision
    found = []
    for endpoint in settings.endpoint:
        given: dict[str, Any] = {"max_in_flight": -(-endpoint.max_in_flight // settings.workers)}
        if endpoint.launch:
            launched = await servers.server_of(endpoint.launch, _NO_LOG, serving.say)
            given |= {"launch": None, "url": launched.url}
            given |= {"model": endpoint.model_name, "revision": revision}
        found.append(endpoint.model_copy(update=given))
    return settings.model_copy(update={"endpoint": tuple(found)}), Judges(chat.pool.servers)


def _work(
    settings: RewardSettings,
    token: str | None,
    files: str | None,
    listening: list[socket.socket],
    slots: Any,
    i: int,
    parent: int,
) -> None:
    """What a worker is, in its own process."""
    serving = Serving(
        settings=settings,
        token=token,
        files=files,
        say=lambda line: print(f"worker {i}: {line}", file=sys.stderr),  # noqa: T201 - its own
        tally=Tally(slots, i),
        sockets=listening,
        parent=parent,
    )
    try:
        uvloop.run(serve(serving, Servers()))
    except Exception as error:  # noqa: BLE001 - said in a line; the parent sees that we end
        print(f"worker {i}: {error}", file=sys.stderr)  # noqa: T201 - a command's own output
        sys.exit(1)
