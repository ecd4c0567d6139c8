"""An address that is listened at: no connection waits for ever, what is at work is finished."""

from __future__ import annotations

import asyncio
import math
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from foundry.rewards.service import Service

# Clients keep connections too, aiohttp's for 15 s: one must not close as the next request comes.
_KEEP_ALIVE_S = 75
_TELLING_S = 2
_LAST_LOOK_S = 0.1


class Listener(uvicorn.Server):
    """An app on an address: says where it listens, and finishes what is at work when it ends."""

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        app: FastAPI,
        service: Service,
        say: Callable[[str], None],
    ) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=timed_protocol(service.settings.body_timeout_s),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            # What is cut off then would be a 500 or nothing; before, it is told to come again.
            timeout_graceful_shutdown=math.ceil(service.settings.shutdown_s) + _TELLING_S,
            # Who is local is for the socket to say, not for a header.
            proxy_headers=False,
        )
        super().__init__(config)
        self.name, self.service, self.say = name, service, say

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        for listener in self.servers:
            for one in listener.sockets:
                host, port = one.getsockname()[:2]
                self.say(f"{self.name} at http://{host}:{port}, mode {self.service.settings.mode}")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Whoever runs the listeners hears the signals."""
        yield

    def end(self) -> None:
        """Finish what is at work, in `shutdown_s` at most; told twice, do not."""
        wait_s = 0.0 if self.should_exit else self.service.settings.shutdown_s
        asyncio.get_running_loop().call_later(wait_s, self.service.closing.set)
        self.service.room.draining = self.should_exit = True


def timed_protocol(rest_s: float) -> type[asyncio.Protocol]:
    """HTTP whose connections are closed when what was begun is not whole after so many seconds.

    That is a request's head, or the body of one that was answered before it was read. uvicorn
    itself waits for ever. A connection between two requests is not closed here.
    """

    class TimedProtocol(H11Protocol):
        _closing: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        def _watch(self) -> None:
            if not self._waits_for_more():
                self._unwatch()
            elif self._closing is None:
                self._closing = self.loop.call_later(rest_s, self._look)

        def _unwatch(self) -> None:
            if self._closing is not None:
                self._closing.cancel()
                self._closing = None

        def _look(self) -> None:
            # After a halt of the loop timers come before what has arrived meanwhile.
            self._closing = self.loop.call_later(_LAST_LOOK_S, self._close)

        def _close(self) -> None:
            self._closing = None
            if self._waits_for_more():
                self.transport.close()

        def _waits_for_more(self) -> bool:
            cycle: Any = self.cycle
            if cycle is None:
                return True
            if not cycle.response_complete:
                return False  # The body of a request at work has a time of its own.
            return self.conn.their_state is not h11.IDLE or bool(self.conn.trailing_data[0])

    return TimedProtocol


def allow_many_files() -> None:
    """As many open connections as this process may have at all."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
