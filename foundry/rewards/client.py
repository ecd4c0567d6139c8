"""Ask a reward server, from any trainer: aiohttp, Pillow and tenacity are all that it needs.

    async with RewardClient("http://127.0.0.1:8600") as client:
        answers = await client.score([gen_item("a red circle", picture)])

`score` does the same without a loop, `BackgroundClient` beside any. An answer without a reward has
None, and a reason: never a number.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import aiohttp
from PIL import Image
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_never,
    wait_random_exponential,
)

Picture: TypeAlias = "Image.Image | bytes | str | Path"
# What a client that comes again may be answered otherwise.
_TRY_AGAIN = (408, 429, 500, 502, 503, 504)


class RewardServerDown(Exception):
    """The server did not answer in time, or refused; the message says what it said."""


class _Again(Exception):
    """A failure that another try may mend, after so many seconds."""

    def __init__(self, message: str, after_s: float) -> None:
        super().__init__(message)
        self.after_s = after_s


class RewardClient:
    """A pool of connections to one server. Use as an asynchronous context manager.

    `token` is the server's bearer token. `timeout_s` is for a request with all its tries, from when
    it is sent; `deadline_s`, sent along, is when the server gives an item up, and is below it.
    `batch` items at most go into one request, `at_once` requests at most are on their way.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 300.0,
        deadline_s: float = 120.0,
        batch: int = 8,
        at_once: int = 16,
    ) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout_s, self._deadline_s = timeout_s, deadline_s
        self._batch = batch
        self._room = asyncio.Semaphore(at_once)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> RewardClient:
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def score(self, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The answer for each item, in order: `reward` (None if not `valid`), `reason`, `scores`.

        Raises RewardServerDown.
        """
        parts = [items[i : i + self._batch] for i in range(0, len(items), self._batch)]
        tasks = [asyncio.ensure_future(self._post(part)) for part in parts]
        try:
            return [answer for answers in await asyncio.gather(*tasks) for answer in answers]
        finally:
            for task in tasks:
                task.cancel()

    async def _post(self, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_Again), stop=stop_never, wait=_pause, reraise=True
        )
        body = {"items": items, "deadline_s": self._deadline_s}
        async with self._room:
            told: list[_Again] = []
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await retrying(self._try, body, told)
            except TimeoutError as error:
                last = told[-1] if told else "nothing came back"
                raise RewardServerDown(
                    f"{self.url}: no answer in {self._timeout_s:g} s; last: {last}"
                ) from error

    async def _try(self, body: Mapping[str, Any], told: list[_Again]) -> list[dict[str, Any]]:
        if self._session is None:
            raise RuntimeError("use RewardClient as an asynchronous context manager")
        try:
            async with self._session.post(f"{self.url}/v1/score", json=body) as response:
                text = await response.text()
                if response.status in _TRY_AGAIN:
                    raise _Again(f"{response.status} {text[:300]}", _seconds(response.headers))
                if response.status != 200:
                    raise RewardServerDown(f"{self.url}: {response.status} {text[:300]}")
                answers = json.loads(text)["items"]
                n = len(answers)
        except (aiohttp.ClientError, ConnectionError) as error:
            told.append(_Again(repr(error), 0.0))
            raise told[-1] from error
        except _Again as error:
            told.append(error)
            raise
        except (ValueError, KeyError, TypeError) as error:
            raise RewardServerDown(f"{self.url}: no reward server answers there") from error
        if n != len(body["items"]):
            raise RewardServerDown(f"{self.url}: {n} answers for {len(body['items'])}")
        return answers


def _pause(state: RetryCallState) -> float:
    """What the server asked for, or longer and longer."""
    trouble = state.outcome.exception() if state.outcome else None
    asked = trouble.after_s if isinstance(trouble, _Again) else 0.0
    return asked + wait_random_exponential(multiplier=0.2, max=10)(state)


def _seconds(headers: Mapping[str, str]) -> float:
    """Those of `Retry-After`, at most a minute; 0 where it says none."""
    try:
        return min(60.0, max(0.0, float(headers.get("Retry-After", "0"))))
    except ValueError:
        return 0.0


class BackgroundClient:
    """A RewardClient on a loop of its own, in a thread: for code without a loop or beside another.

    `settings` are those of RewardClient. It is there, with its connections, until it is closed, or
    let go.
    """

    def __init__(self, url: str, **settings: Any) -> None:
        client, loop = RewardClient(url, **settings), asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="rewards", daemon=True)
        thread.start()
        self._client, self._loop = client, loop
        asyncio.run_coroutine_threadsafe(client.__aenter__(), loop).result()
        self.close = weakref.finalize(self, _end, client, loop, thread)

    def score(self, items: Sequence[Mapping[str, Any]]) -> Future[list[dict[str, Any]]]:
        """What `RewardClient.score` gives, to wait for with `result()` or asyncio.wrap_future."""
        return asyncio.run_coroutine_threadsafe(self._client.score(items), self._loop)


def _end(client: RewardClient, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    if not thread.is_alive():
        return  # In a process that was forked.
    if threading.current_thread() is thread:
        # Found unused in its own thread, which cannot wait for itself.
        closing = loop.create_task(client.__aexit__(None, None, None))
        closing.add_done_callback(lambda _: loop.stop())
        return
    asyncio.run_coroutine_threadsafe(client.__aexit__(None, None, None), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def score(url: str, items: Sequence[Mapping[str, Any]], **settings: Any) -> list[dict[str, Any]]:
    """The answers, once; `settings` are those of `RewardClient`. Raises RewardServerDown."""
    client = BackgroundClient(url, **settings)
    try:
        return client.score(items).result()
    finally:
        client.close()


def gen_item(prompt: str, image: Picture) -> dict[str, str]:
    """A generated picture, scored on how well it follows its prompt."""
    return {"task": "gen", "prompt": prompt, "image": as_text(image)}


def edit_item(instruction: str, source: Picture, edited: Picture) -> dict[str, str]:
    """An edit, scored on both axes."""
    return {
        "task": "edit",
        "instruction": instruction,
        "source_image": as_text(source),
        "edited_image": as_text(edited),
    }


def as_text(picture: Picture) -> str:
    """Base64 of a picture: one of Pillow's becomes a PNG, a path is read here."""
    if isinstance(picture, Image.Image):
        out = io.BytesIO()
        picture.convert("RGB").save(out, "PNG", compress_level=1)
        picture = out.getvalue()
    if isinstance(picture, str | Path):
        picture = Path(picture).read_bytes()
    return base64.b64encode(picture).decode("ascii")
