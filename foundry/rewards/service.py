"""A reward server's work on a request: its body, its items, their answers by a deadline.

Thin: read, check, ask, answer. Batching is vLLM's.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from fastapi import Request

from foundry.rewards.admission import Refused, Room, or_gone
from foundry.rewards.groups import (
    Group,
    candidates,
    compare,
    point_answer,
    read_group,
    read_source,
    win_rate_answer,
)
from foundry.rewards.items import (
    BadItem,
    BadRequest,
    Item,
    RawItem,
    deadline_of,
    items_of,
    raw_item,
    read_item,
)
from foundry.rewards.judges import Judges
from foundry.rewards.metrics import Metrics
from foundry.rewards.scoring import (
    JUDGE_DOWN,
    invalid,
    make_stages,
    questions_of,
    score_item,
)
from foundry.rewards.settings import RewardSettings
from foundry.rewards.tally import Tally
from pipelines.chat import Chat
from pipelines.fast_json import load_json
from pipelines.shard_run import gather_or_cancel

T = TypeVar("T")
Answers = list[dict[str, Any]]
_MOST_VALUES = 1_000_000
# Bytes; a larger body is parsed in a thread, because the loop would stand still meanwhile.
_PARSED_AT_ONCE = 200_000


@dataclass(kw_only=True)
class Service:
    """What the server holds while it runs. `files` is a real path, `token` the bearer token.

    `closing`: what is still at work gets no answer any more.
    """

    settings: RewardSettings
    chat: Chat
    token: str | None
    files: str | None
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.room = Room(self.settings, self.tally)
        self.closing = asyncio.Event()
        self.judges = Judges(self.chat.pool.servers)
        self.stages = make_stages(self.settings)
        # More threads than cores would only hold more pictures at once.
        cores = len(os.sched_getaffinity(0))
        self._readers = ThreadPoolExecutor(max(1, cores // self.settings.workers), "reader")
        self.metrics = Metrics(self.room, self.chat.pool.servers)

    async def score(self, request: Request) -> dict[str, Any]:
        """The answers for a request's items. Raises Refused, BadRequest."""
        async with self.body(request, read_json) as asked:
            items = [_raw(item) for item in items_of(asked, most=self.settings.max_items)]
            deadline_s = deadline_of(asked, self.settings.deadline_s)
            asked.clear()
            return {"items": await self.answer(request, items, time.monotonic() + deadline_s)}

    async def score_group(self, request: Request) -> dict[str, Any]:
        """Rewards and advantages of a group's candidates. Raises Refused, BadRequest."""
        async with self.body(request, read_json) as asked:
            group = read_group(asked, most=self.settings.max_items)
            until = time.monotonic() + deadline_of(asked, self.settings.deadline_s)
            asked.clear()
            n = len(group.images)
            if group.mode == "win_rate":
                return await self.work_on(request, n * (n - 1), self._compare(group, until))
            questions = n * questions_of(group.kind, group.axes, self.settings)
            return await self.work_on(request, questions, self._score_each(group, until))

    async def _score_each(self, group: Group, until: float) -> dict[str, Any]:
        return point_answer(await self._answers(await self._candidates(group, until), until))

    async def _compare(self, group: Group, until: float) -> dict[str, Any]:
        raw = await self._candidates(group, until)
        items = await gather_or_cancel([self._read_item(one, until) for one in raw])
        wins, outcomes = await compare(
            items,
            chat=self.chat,
            stage=self.stages["judge_pair"],
            until=until,
            why_late=self._why_late,
        )
        for outcome, n in outcomes.items():
            self.metrics.comparisons.labels(outcome).inc(n)
        if set(outcomes) == {JUDGE_DOWN}:
            raise Refused(503, "no judge answers; come again")
        return win_rate_answer(items, wins, outcomes)

    def _why_late(self) -> str:
        """Why an answer is not there in time: a judge that fails is not one that is slow."""
        failing = all(server.in_trouble for server in self.chat.pool.servers)
        return JUDGE_DOWN if failing else "deadline"

    async def _candidates(self, group: Group, until: float) -> list[RawItem | BadItem]:
        """The candidates of a group, not looked at yet, with their source, which is prepared once.

        One that cannot be read is the fault of each.
        """
        if group.kind == "gen":
            return [*candidates(group, ())]
        source = await self._read(read_source, group, until)
        if isinstance(source, BadItem):
            return [source] * len(group.images)
        return [*candidates(group, (source,))]

    async def _read(self, reader: Callable[..., T], value: Any, until: float) -> T | BadItem:
        """What a reader makes of a value, in a thread: pictures are decoded there."""
        work = partial(reader, value, limits=self.settings.images, files=self.files)
        try:
            async with asyncio.timeout(until - time.monotonic()):
                return await asyncio.get_running_loop().run_in_executor(self._readers, work)
        except BadItem as bad:
            return bad
        except TimeoutError:
            return BadItem("deadline", "no answer in time")

    async def _read_item(self, raw: RawItem | BadItem, until: float) -> Item | BadItem:
        return raw if isinstance(raw, BadItem) else await self._read(read_item, raw, until)

    @asynccontextmanager
    async def body(
        self, request: Request, parser: Callable[[bytes], T], at_once: int = _PARSED_AT_ONCE
    ) -> AsyncIterator[T]:
        """What a parser makes of a request's body; the room that it takes is held meanwhile.

        Raises Refused, and what the parser raises.
        """
        self.room.check()
        with self.room.bytes_held() as take:
            # Not named: the bytes go when they have been read.
            yield await self.parse(parser, await self.room.read_body(request, take), at_once)

    async def parse(self, parser: Callable[[bytes], T], body: bytes, at_once: int) -> T:
        """What a parser makes of a body, in a thread if it is over `at_once` bytes.

        Raises what the parser raises.
        """
        if len(body) <= at_once:
            return parser(body)
        return await asyncio.get_running_loop().run_in_executor(self._readers, parser, body)

    async def answer(
        self, request: Request, items: list[RawItem | BadItem], until: float
    ) -> Answers:
        """Answers for items, in order. Empties the list. Raises Refused, BadRequest."""
        questions = sum(
            questions_of(item.kind, item.axes, self.settings)
            for item in items
            if isinstance(item, RawItem)
        )
        return await self.work_on(request, questions, self._answers(items, until))

    async def _answers(self, items: list[RawItem | BadItem], until: float) -> Answers:
        asked = [self._answer(item, until) for item in items]
        # What a client sent goes picture by picture, when it has been read.
        items.clear()
        answers = await gather_or_cancel(asked)
        if answers and all(answer["reason"] == JUDGE_DOWN for answer in answers):
            raise Refused(503, "no judge answers; come again")
        return answers

    async def work_on(self, request: Request, questions: int, work: Coroutine[Any, Any, T]) -> T:
        """The result of some work that asks so many questions, if there is room for them.

        Raises Refused, BadRequest.
        """
        try:
            with self.room.work(questions):
                return await or_gone(request, work, self.closing)
        finally:
            work.close()

    async def _answer(self, raw: RawItem | BadItem, until: float) -> dict[str, Any]:
        """An item's answer, whatever it is, by its deadline."""
        kind = "unknown" if isinstance(raw, BadItem) else raw.kind
        item = await self._read_item(raw, until)
        del raw
        if isinstance(item, BadItem):
            answer = invalid(item.reason, item.detail)
        else:
            try:
                async with asyncio.timeout(until - time.monotonic()):
                    answer = await score_item(
                        item, chat=self.chat, stages=self.stages, settings=self.settings
                    )
            except TimeoutError:
                answer = invalid(self._why_late(), "no answer in time")
        self.metrics.answered(kind, answer)
        return answer


def _raw(value: Any) -> RawItem | BadItem:
    try:
        return raw_item(value)
    except BadItem as bad:
        return bad


def read_json(body: bytes) -> Any:
    """The JSON of a body. Raises BadRequest."""
    # Empty lists and the like take many times their bytes in memory.
    if sum(map(body.count, (b"[", b"{", b","))) > _MOST_VALUES:
        raise BadRequest(f"the body has more than {_MOST_VALUES} values")
    try:
        return load_json(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {str(error)[:200]}") from error
