"""One shard through its chain of stages: what is known is reused, the rest is asked and kept.

The chain runs group by group (a prompt with its pictures, a pair with its instructions), so that
requests about the same pictures come close together and meet a warm cache on the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pipelines.answers import NotAsked, Row, get_answer, reusable
from pipelines.chat import Chat, EndpointDown
from pipelines.identity import answer_id
from pipelines.journal import Journal
from pipelines.questions import Question
from pipelines.stages import Stage
from pipelines.tables import read_answers, write_answers

T = TypeVar("T")
ChatOf = Callable[[str], Awaitable[Chat]]
OnAnswer = Callable[[Stage, Row, bool], None]
# `get_answer`, or what asks and reads in another way with the same arguments.
GetAnswer = Callable[..., Awaitable[Row]]


class ShardRun:
    """The answers of one bucket while its shard runs. Used by one event loop.

    `chat_of` gives the client of a role, starting its server when first needed; None means that
    nobody is asked and a missing answer raises NotAsked. `on_answer(stage, row, asked)` hears of
    every answer, whether it was asked now or known.
    """

    def __init__(
        self,
        build: Path,
        bucket: int,
        stages: Mapping[str, Stage],
        *,
        chat_of: ChatOf | None,
        on_answer: OnAnswer = lambda stage, row, asked: None,
    ) -> None:
        self.build = build
        self.bucket = bucket
        self.stages = stages
        self._chat_of = chat_of
        self._on_answer = on_answer
        tables = dict.fromkeys(stage.table for stage in stages.values())
        self._known = {table: read_answers(build, table, bucket) for table in tables}
        self._new: dict[str, list[tuple[int, Row]]] = {table: [] for table in tables}
        self._pending: dict[str, asyncio.Future[Row]] = {}
        self._journals: dict[str, Journal] = {}

    async def answer(
        self,
        stage: Stage,
        question: Question,
        *,
        contents: tuple[str, ...],
        about: dict[str, Any],
        order: int,
        get: GetAnswer = get_answer,
    ) -> Row:
        """The row for one answer: the known one, the one being asked, or a new one.

        `get` asks for it and reads it. `order` places new rows in the shard, so that a finished
        shard does not depend on which answer came first. Raises EndpointDown, OSError, NotAsked.
        """
        identity = answer_id(stage.digest, contents)
        known = self._known[stage.table].get(identity)
        if known is not None and (self._chat_of is None or reusable(known, stage)):
            self._on_answer(stage, known, False)
            return known
        if self._chat_of is None:
            raise NotAsked(f"bucket {self.bucket}: no answer {identity} in {stage.table}/")
        pending = self._pending.get(identity)
        if pending is None:
            pending = self._pending[identity] = asyncio.get_running_loop().create_future()
            row = await self._ask_for_all(pending, get, stage, question, identity, about, known)
            self._new[stage.table].append((order, row))
            self._on_answer(stage, row, True)
            return row
        return await asyncio.shield(pending)

    async def _ask_for_all(self, pending: asyncio.Future[Row], *asked: Any) -> Row:
        """Ask, and tell all who wait for the same answer what came of it."""
        try:
            row = await self._ask(*asked)
        except asyncio.CancelledError:
            pending.cancel()
            raise
        except BaseException as error:
            pending.set_exception(error)
            pending.exception()  # Looked at: nobody else may be waiting.
            raise
        pending.set_result(row)
        return row

    async def _ask(
        self,
        get: GetAnswer,
        stage: Stage,
        question: Question,
        identity: str,
        about: dict[str, Any],
        earlier: Row | None,
    ) -> Row:
        if self._chat_of is None:
            raise NotAsked(identity)
        chat = await self._chat_of(stage.role)
        try:
            row = await get(
                question,
                answer_id=identity,
                stage=stage,
                chat=chat,
                journal=self._journal(stage.table),
                earlier=earlier,
            )
        except EndpointDown as down:
            # A request that always fails the server stops its shard: say which one it was.
            subject = ", ".join(f"{k}={str(v)[:80]!r}" for k, v in about.items())
            raise type(down)(f"{stage.name} of {subject}: {down}") from down
        return about | row

    def _journal(self, table: str) -> Journal:
        if table not in self._journals:
            self._journals[table] = Journal(self._journal_path(table))
        return self._journals[table]

    def _journal_path(self, table: str) -> Path:
        return self.build / "journal" / table / f"{self.bucket:05d}.jsonl"

    def finish(self) -> dict[str, int]:
        """Write the new rows of every table, then drop the journals. Returns new rows a table."""
        for table, rows in self._new.items():
            if rows:
                rows.sort(key=lambda entry: entry[0])
                write_answers(self.build, table, self.bucket, [row for _, row in rows])
        for journal in self._journals.values():
            journal.close()
        for table in self._known:
            # One may be left over from a run that was killed after its shard was written.
            self._journal_path(table).unlink(missing_ok=True)
        self._journals.clear()
        return {table: len(rows) for table, rows in self._new.items()}

    def close(self) -> None:
        """Close the journals and keep them: the shard is not finished."""
        for journal in self._journals.values():
            journal.close()


async def run_and_finish(
    work: Callable[[], Awaitable[T]], run: ShardRun
) -> tuple[T, dict[str, int]]:
    """Do a shard's work and write its tables. Returns what came of the work, and new rows a table.

    The journals are kept when anything goes wrong.
    """
    try:
        found = await work()
        finishing = asyncio.ensure_future(asyncio.to_thread(run.finish))
        try:
            return found, await asyncio.shield(finishing)
        except asyncio.CancelledError:
            # A thread cannot be cancelled, and the build's lock must outlive what it writes.
            await finishing
            raise
    finally:
        run.close()


async def run_groups(
    groups: Sequence[list[Row]],
    run_group: Callable[..., Awaitable[list[Any]]],
    run: ShardRun,
    *,
    at_once: int,
) -> list[Any]:
    """Run all groups of a shard, `at_once` of them at a time, and gather their outcomes in order.

    The first exception cancels the rest and is raised.
    """
    outcomes: list[list[Any]] = [[] for _ in groups]
    queue = iter(enumerate(groups))

    async def work() -> None:
        for i, group in queue:
            outcomes[i] = await run_group(group, run=run)

    await gather_or_cancel([work() for _ in range(min(at_once, len(groups)))])
    return [outcome for group in outcomes for outcome in group]


async def gather_or_cancel(work: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Like asyncio.gather, but nothing is left running when one fails or the caller is stopped."""
    if len(work) == 1:
        return [await work[0]]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
