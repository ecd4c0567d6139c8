"""The other side: a plain aiohttp load generator that sends recorded bodies, and nothing else.

`python bench/raw_client.py '{"bodies": ..., "url": ..., "concurrency": 64, ...}'` prints one line
of JSON. It reads every reply to its end and looks at nothing but the status.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

_UUID = re.compile(rb'"uuid":"([0-9a-f]{64})"')


def read_bodies(path: Path, start: int = 0, stop: int | None = None) -> list[bytes]:
    """Recorded bodies, one a line, in the order in which they were sent."""
    return path.read_bytes().splitlines()[start:stop]


def pictures_before(bodies: list[bytes]) -> list[int]:
    """For each body that names pictures by uuid alone: the body that brings them; -1 for none.

    A server knows a picture when the request that brought it has been answered, so the raw client
    must keep this much of the order; it is free of all the others.
    """
    brought: dict[bytes, int] = {}
    needs = []
    for i, body in enumerate(bodies):
        uuids = _UUID.findall(body)
        if b'"image_url":null' in body:
            needs.append(max((brought.get(uuid, -1) for uuid in uuids), default=-1))
        else:
            brought |= dict.fromkeys(uuids, i)
            needs.append(-1)
    return needs


class Load:
    """Sends bodies with a fixed number in flight; counts, and times the first and last."""

    def __init__(self, bodies: list[bytes], *, url: str, until_s: float | None) -> None:
        self.bodies = bodies
        self.url = url + "/chat/completions"
        self.until_s = until_s
        self.needs = pictures_before(bodies)
        self.answered = {i: asyncio.Event() for i in self.needs if i >= 0}
        self.completed = 0
        self.failed: dict[int, int] = {}
        self.first_s = self.last_s = 0.0

    def order(self) -> Iterator[int]:
        """Indices of bodies: once through, or again and again until the time is over."""
        while True:
            for i in range(len(self.bodies)):
                if self.until_s is not None and time.monotonic() - self.first_s > self.until_s:
                    return
                yield i
            if self.until_s is None:
                return

    async def run(self, concurrency: int) -> None:
        """Send everything."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=600),
            headers={"Content-Type": "application/json"},
        ) as session:
            self.first_s = time.monotonic()
            order = self.order()
            await asyncio.gather(*(self._work(session, order) for _ in range(concurrency)))

    async def _work(self, session: aiohttp.ClientSession, order: Iterator[int]) -> None:
        needs, answered = self.needs, self.answered
        for i in order:
            if needs[i] >= 0:
                await answered[needs[i]].wait()
            async with session.post(self.url, data=self.bodies[i]) as response:
                await response.read()
            if response.status == 200:
                self.completed += 1
            else:
                self.failed[response.status] = self.failed.get(response.status, 0) + 1
            self.last_s = time.monotonic()
            if i in answered:
                answered[i].set()


def main() -> None:
    """Run one load and print what it measured."""
    job: dict[str, Any] = json.loads(sys.argv[1])
    bodies = read_bodies(Path(job["bodies"]), job.get("start", 0), job.get("stop"))
    load = Load(bodies, url=job["url"], until_s=job.get("until_s"))
    asyncio.run(load.run(job["concurrency"]))
    seconds = load.last_s - load.first_s
    result = {
        "requests": load.completed,
        "failed": load.failed,
        "seconds": seconds,
        "requests_per_s": load.completed / seconds,
        "concurrency": job["concurrency"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
