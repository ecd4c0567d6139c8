"""One process that serves rewards, until it is told to end or its own judges have ended."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from foundry.rewards.listening import Listener
from foundry.rewards.routes import make_app
from foundry.rewards.service import Service
from foundry.rewards.settings import RewardSettings
from foundry.rewards.tally import READY, Tally
from foundry.rewards.trainer_wire import make_wire
from pipelines.chat import Chat
from pipelines.connecting import Servers, connect
from pipelines.runtime import GC_THRESHOLD
from pipelines.shard_run import gather_or_cancel
from pipelines.version import code_version

# For a source and an edited picture.
_PICTURES = 2
# How long a thread that decodes a picture may keep the loop from going on.
_SWITCH_S = 0.0005


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What a process serves with. `files` is a real path, `token` the bearer token.

    `sockets`, where a parent bound them, are in the order of `addresses`; `parent` is then its
    process id, and without it a worker ends. `say` writes a line for whoever runs the server.
    """

    settings: RewardSettings
    token: str | None
    files: str | None
    say: Callable[[str], None]
    tally: Tally = field(default_factory=Tally)
    sockets: Sequence[socket.socket] = ()
    parent: int | None = None


def addresses(settings: RewardSettings) -> list[tuple[str, str, int]]:
    """Name, host and port of what a server listens at."""
    found = [("rewards", settings.host, settings.port)]
    if (wire := settings.trainer_wire) is not None:
        found.append(("trainers' formats", wire.host, wire.port))
    return found


async def connect_judge(
    settings: RewardSettings, servers: Servers, say: Callable[[str], None]
) -> Chat:
    """The client of the judge's endpoints, at their limits. Raises as `connect` does."""
    chat = await connect(
        "judge",
        settings.endpoint,
        servers=servers,
        log_path=Path("logs") / "reward-judge.log",
        pictures=_PICTURES,
        # A judge that is gone must be told as that, before the deadline of what waits for it.
        outage_timeout_s=settings.deadline_s / 2,
        say=say,
    )
    for server in chat.pool.servers:
        server.open_wide()
    return chat


async def serve(serving: Serving, servers: Servers) -> None:
    """Serve until SIGTERM, or SIGINT where there is no parent.

    Raises LaunchFailed when the judges that it launched have ended, and as `connect` does.
    """
    settings = serving.settings
    chat = await connect_judge(settings, servers, serving.say)
    service = Service(
        settings=settings,
        chat=chat,
        token=serving.token,
        files=serving.files,
        tally=serving.tally,
    )
    apps = [make_app(service), *([make_wire(service)] if settings.trainer_wire else [])]
    # Where a parent listens, it says so itself.
    say = serving.say if serving.parent is None else lambda line: None
    listeners = [
        Listener(*address, app, service, say)
        for address, app in zip(addresses(settings), apps, strict=True)
    ]

    def end(*_: object) -> None:
        for listener in listeners:
            listener.end()

    def end_at_once(*_: object) -> None:
        service.closing.set()
        end()

    loop = asyncio.get_running_loop()
    # They end the serving, not the process: a judge may have to be stopped.
    loop.add_signal_handler(signal.SIGTERM, end)
    if serving.parent is None:
        loop.add_signal_handler(signal.SIGINT, end)
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent hears it, and tells.
    judges_end = asyncio.ensure_future(service.judges.end())
    orphaned = asyncio.ensure_future(_parent_ends(serving.parent))
    ends = (judges_end, orphaned)
    for one in ends:
        one.add_done_callback(end_at_once)
    settle()
    sockets = [[one] for one in serving.sockets] or [None] * len(listeners)
    try:
        serving.tally.add(READY, 1)
        await gather_or_cancel(
            [one.serve(given) for one, given in zip(listeners, sockets, strict=True)]
        )
        if judges_end.done():
            raise judges_end.result()
    finally:
        for one in ends:
            one.remove_done_callback(end_at_once)
            one.cancel()
        await chat.pool.close()


async def _parent_ends(parent: int | None) -> None:
    while parent is None or os.getppid() == parent:
        await asyncio.sleep(1)


def settle() -> None:
    """Do before serving what would hold up the loop while it serves.

    All that stands now stays, so the search for cycles leaves it out: a full one took 40 ms and
    more. What a request makes outlives the usual thresholds while its judge thinks, and leaves no
    cycles.
    """
    code_version()  # Each answer tells it, and the first asks git.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    sys.setswitchinterval(_SWITCH_S)
