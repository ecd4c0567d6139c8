"""Who is let in, how much of what they send is held at once, and when work for them ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from foundry.rewards.items import BadRequest
from foundry.rewards.settings import RewardSettings
from foundry.rewards.tally import BYTES, QUESTIONS, REQUESTS, Tally

T = TypeVar("T")
# Bodies of the largest size that are held at once. One takes up to four times its bytes: as it
# came, as it was read, as pictures, and as it goes to the judge.
_BODIES_HELD = 4
# Requests that are read or at work at once, so that there is an end to them however small.
_MOST_REQUESTS = 4096


class Refused(Exception):
    """A request that gets no scores: the HTTP status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Room:
    """How much a server has taken on, with all its workers, and lets in.

    `draining`: nothing new is taken, what is at work is finished.
    """

    def __init__(self, settings: RewardSettings, tally: Tally) -> None:
        self.most_questions = settings.max_waiting
        self.most_bytes = round(settings.max_body_mb * 1e6)
        self.body_timeout_s = settings.body_timeout_s
        self.draining = False
        self.tally = tally

    @property
    def questions(self) -> int:
        """Questions to the judge without an answer."""
        return self.tally.total(QUESTIONS)

    @property
    def held(self) -> int:
        """Bytes of bodies."""
        return self.tally.total(BYTES)

    def check(self) -> None:
        """Raises Refused when nothing is let in."""
        if self.draining:
            raise Refused(503, "the server is going down")
        if self.questions >= self.most_questions:
            raise Refused(429, f"{self.questions} questions are at work already; come again")
        if (requests := self.tally.total(REQUESTS)) >= _MOST_REQUESTS:
            raise Refused(429, f"{requests} requests are at work already; come again")

    @contextmanager
    def work(self, questions: int) -> Iterator[None]:
        """Room for so many questions. Raises Refused, or BadRequest where there never is."""
        if questions > self.most_questions:
            raise BadRequest(
                f"{questions} questions to the judge; at most {self.most_questions} are asked at "
                "once (max_waiting)"
            )
        self.check()
        if self.questions + questions > self.most_questions:
            raise Refused(429, f"{self.questions} questions are at work already; come again")
        self.tally.add(QUESTIONS, questions)
        try:
            yield
        finally:
            self.tally.add(QUESTIONS, -questions)

    @contextmanager
    def bytes_held(self) -> Iterator[Callable[[int], None]]:
        """What takes room for so many bytes more, or raises Refused; all of it is given back."""
        taken = 0

        def take(n: int) -> None:
            nonlocal taken
            if self.held + n > _BODIES_HELD * self.most_bytes:
                raise Refused(429, "too much is at work already; come again")
            self.tally.add(BYTES, n)
            taken += n

        self.tally.add(REQUESTS, 1)
        try:
            yield take
        finally:
            self.tally.add(REQUESTS, -1)
            self.tally.add(BYTES, -taken)

    async def read_body(self, request: Request, take: Callable[[int], None]) -> bytes:
        """A request's whole body, for whose announced length room is taken before it comes.

        Raises Refused for one that is too large or comes too slowly, and where there is no room.
        One that is little too large is read to its end, because a sender cut short hears no answer.
        """
        most = self.most_bytes
        too_large = Refused(413, f"the body is over max_body_mb {most / 1e6:g}")
        length = request.headers.get("content-length", "")
        announced = int(length) if length.isdecimal() else 0
        if announced > 2 * most:
            raise too_large
        size = taken = 0
        if announced <= most:
            take(announced)
            taken = announced
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(self.body_timeout_s):
                async for part in request.stream():
                    size += len(part)
                    if size > 2 * most:
                        raise too_large
                    if max(size, announced) > most:
                        parts.clear()
                        continue
                    if size > taken:
                        take(size - taken)
                        taken = size
                    parts.append(part)
        except TimeoutError as error:
            raise Refused(408, "the body did not come in time") from error
        except ClientDisconnect as error:
            raise Refused(499, "the client left") from error
        if size > most:
            raise too_large
        return b"".join(parts)


async def or_gone(request: Request, work: Coroutine[Any, Any, T], closing: asyncio.Event) -> T:
    """The work's result; it is cancelled when the client leaves, or the server can wait no more.

    Raises Refused then.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    asked = asyncio.ensure_future(work)
    leaving, ending = asyncio.ensure_future(gone()), asyncio.ensure_future(closing.wait())
    tasks = (asked, leaving, ending)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            return asked.result()
        if leaving.done():
            raise Refused(499, "the client left")
        raise Refused(503, "the server is going down")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
