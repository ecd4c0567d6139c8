"""Whether the servers that judge are there, and when they may be asked again."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

import aiohttp

from pipelines.endpoints import ServerState
from pipelines.launch import LaunchFailed

# Who looks at a server's readiness asks every few seconds, and more than one does.
_KNOWN_FOR_S = 1.0
_ANSWER_S = 1.0
_LONGEST_AFTER_S = 30


class Judges:
    """The servers of a pool, seen from outside."""

    def __init__(self, servers: Sequence[ServerState]) -> None:
        self.servers = servers
        self._one_at_a_time = asyncio.Lock()
        self._answered, self._asked_s = False, -math.inf

    async def answer(self) -> bool:
        """Whether any of them lists its models, as it was at most a second ago."""
        async with self._one_at_a_time:
            if time.monotonic() - self._asked_s > _KNOWN_FOR_S:
                self._answered = any(await asyncio.gather(*map(_lists_models, self.servers)))
                self._asked_s = time.monotonic()
            return self._answered

    async def end(self) -> LaunchFailed:
        """Waits until all of them were launched and have ended; why the last one did."""
        while not (fault := self.fault()):
            await asyncio.sleep(_KNOWN_FOR_S)
        return fault

    def fault(self) -> LaunchFailed | None:
        """Why the last of them ended, if all were launched and have ended."""
        faults = [_fault(server) for server in self.servers]
        return faults[-1] if faults and all(faults) else None

    def retry_after_s(self) -> int:
        """Whole seconds until the first of them may be asked again, 1 to 30."""
        pauses = [server.not_before_s - time.monotonic() for server in self.servers]
        return min(_LONGEST_AFTER_S, max(1, math.ceil(min(pauses, default=0))))


async def _lists_models(server: ServerState) -> bool:
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
    try:
        async with server.session.get(f"{server.url}/models", timeout=timeout) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


def _fault(server: ServerState) -> LaunchFailed | None:
    try:
        server.check_running()
    except LaunchFailed as error:
        return error
    return None
