"""Ask a reward server, from any trainer: aiohttp and tenacity are all that it needs.

    async with RewardClient("http://127.0.0.1:8600") as client:
        answers = await client.score([gen_item("a red circle", picture)])

An answer without a reward has None, and a reason: never a number.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import aiohttp
from PIL import Image
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

Picture: TypeAlias = "Image.Image | bytes | str | Path"
# What a client that comes again may be answered otherwise.
_TRY_AGAIN = (408, 429, 500, 502, 503, 504)


class RewardServerDown(Exception):
    """The server did not answer in time, or refused; the message says what it said."""


class _Again(Exception):
    """A failure that another try may mend."""


class RewardClient:
    """A pool of connections to one server. Use as an asynchronous context manager.

    `token` is the server's bearer token. `timeout_s` is for a request with all its tries;
    `deadline_s`, sent along, is when the server gives an item up, and is below it. `batch` items at
    most go into one request, `at_once` requests at most are on their way.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 300.0,
        deadline_s: float = 120.0,
        batch: int = 16,
        at_once: int = 64,
    ) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout_s, self._deadline_s = timeout_s, deadline_s
        self._batch, self._at_once = batch, at_once
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> RewardClient:
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=self._at_once),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=10),
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
            retry=retry_if_exception_type(_Again),
            stop=stop_after_delay(self._timeout_s),
            wait=wait_random_exponential(multiplier=0.2, max=10),
            reraise=True,
        )
        try:
            return await retrying(self._try, {"items": items, "deadline_s": self._deadline_s})
        except _Again as error:
            raise RewardServerDown(str(error)) from error

    async def _try(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        if self._session is None:
            raise RuntimeError("use RewardClient as an asynchronous context manager")
        try:
            async with self._session.post(f"{self.url}/v1/score", json=body) as response:
                if response.status in _TRY_AGAIN:
                    text = (await response.text())[:300]
                    raise _Again(f"{self.url}: {response.status} {text}")
                if response.status != 200:
                    text = (await response.text())[:300]
                    raise RewardServerDown(f"{self.url}: {response.status} {text}")
                answers = (await response.json())["items"]
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise _Again(f"{self.url}: {error!r}") from error
        if len(answers) != len(body["items"]):
            raise RewardServerDown(f"{self.url}: {len(answers)} answers for {len(body['items'])}")
        return answers


def score(url: str, items: Sequence[Mapping[str, Any]], **settings: Any) -> list[dict[str, Any]]:
    """The same, synchronously; `settings` are those of `RewardClient`. Raises RewardServerDown."""

    async def ask() -> list[dict[str, Any]]:
        async with RewardClient(url, **settings) as client:
            return await client.score(items)

    return asyncio.run(ask())


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
