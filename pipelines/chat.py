"""The chat client: one question to a pool of OpenAI-compatible servers, through every trouble.

Three outcomes: a `Reply` (whether it can be used is the stage's question), `RequestRefused` (the
server will never answer this: the row's fault), `EndpointDown` (nobody answered for long enough:
nobody's row is at fault). Retrying has one owner, tenacity, around one classified attempt.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from pipelines.endpoints import EndpointPool, ServerState
from pipelines.questions import Question, RequestRefused, request_body
from pipelines.replies import NotACompletion, Reply, read_completion

STICKY_PICTURES = 50_000
# A request that fails this often while others succeed would fail for ever.
MOST_FAILURES = 12
_JSON_BODY = {"Content-Type": "application/json"}
# Of one server they end the run; of one of several, such as a pod that restarts, others take over.
_WRONG_ADDRESS = (401, 403, 404, 405)
# Besides: out of credit, a proxy that wants a login, a time-out, a conflict, too early.
_ENDPOINTS_FAULT = (*_WRONG_ADDRESS, 402, 407, 408, 409, 425)
_TOO_LONG = ("context length", "max_model_len", "maximum model length", "too long")


class EndpointDown(Exception):
    """No server of the pool answered within the outage time; the message says what to do."""


class RequestStuck(EndpointDown):
    """One request that fails again and again while others of its pool get answers."""


class _Trouble(Exception):
    """A failed attempt that is the server's fault; tried again.

    `pushed_back`: the server is well but busy (429, 503).
    """

    def __init__(self, message: str, *, pushed_back: bool = False) -> None:
        super().__init__(message)
        self.pushed_back = pushed_back


class _PictureNotCached(Exception):
    """The server no longer has a picture that was sent by uuid."""


class Chat:
    """Asks a pool. `model` and `extra_body` go into every request.

    `on_request` is told of every request sent (the server's URL), for counting.
    """

    def __init__(
        self,
        pool: EndpointPool,
        *,
        model: str,
        extra_body: Mapping[str, Any],
        outage_timeout_s: float,
        on_request: Callable[[str], None] = lambda url: None,
    ) -> None:
        self.pool = pool
        self.model = model
        self._extra_body = json.dumps(dict(extra_body), sort_keys=True)
        self._outage_timeout_s = outage_timeout_s
        self._on_request = on_request
        self._homes: OrderedDict[str, ServerState] = OrderedDict()

    async def ask(self, question: Question) -> tuple[Reply, str]:
        """The reply, and the URL of the server that gave it.

        Raises RequestRefused, EndpointDown.
        """
        started = time.monotonic()
        try:
            # Most requests succeed at once, and tenacity costs as much as sending one.
            return await self._attempt(question)
        except _Trouble as trouble:
            return await self._ask_again(question, trouble, started)

    async def _ask_again(
        self, question: Question, trouble: _Trouble, started: float
    ) -> tuple[Reply, str]:
        """Go on after a first failed attempt, which counts like any other."""
        failed_at, failures, tries = started, 0, 0
        first = [trouble]

        async def attempt() -> tuple[Reply, str]:
            if first:
                raise first.pop()
            return await self._attempt(question)

        def give_up(state: RetryCallState) -> bool:
            nonlocal failed_at, failures, tries
            now, tries = time.monotonic(), state.attempt_number
            answered = max(server.last_success_s for server in self.pool.servers)
            trouble = state.outcome.exception() if state.outcome else None
            if isinstance(trouble, _Trouble) and not trouble.pushed_back:
                # Its own fault only if others got answers meanwhile; an outage is measured in time.
                failures += answered > failed_at
                failed_at = now
            silent_s = now - max(started, answered)
            return failures >= MOST_FAILURES or silent_s > self._outage_timeout_s

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_Trouble),
            stop=give_up,
            wait=lambda _: 0.0,  # the pool's own pauses decide when a server may be asked
            reraise=True,
        )
        try:
            return await retrying(attempt)
        except _Trouble as trouble:
            urls = ", ".join(server.url for server in self.pool.servers)
            kind = RequestStuck if failures >= MOST_FAILURES else EndpointDown
            raise kind(
                f"{urls}: no answer in {time.monotonic() - started:.0f} s and {tries} "
                f"tries; last: {trouble}. Finished work is kept: see to the server and run again."
            ) from trouble

    async def _attempt(self, question: Question) -> tuple[Reply, str]:
        home = self._homes.get(question.sticky) if question.sticky else None
        server = await self.pool.acquire(home)
        try:
            known = frozenset(p.sha256 for p in question.pictures) & server.known_pictures.keys()
            try:
                reply = await self._send(server, question, known=known)
            except _PictureNotCached:
                for picture in question.pictures:
                    server.known_pictures.pop(picture.sha256, None)
                reply = await self._send(server, question, known=frozenset())
            self.pool.succeeded(server)
            for picture in question.pictures:
                server.remember(picture.sha256)
            self._keep_home(question.sticky, server)
            return reply, server.url
        except (aiohttp.ClientError, TimeoutError, ConnectionError, NotACompletion) as error:
            self.pool.failed(server)
            if len(self.pool.servers) == 1:
                server.check_running()
            raise _Trouble(f"{server.url}: {type(error).__name__} {error}".strip()) from error
        finally:
            self.pool.release(server)

    def _keep_home(self, sticky: str | None, server: ServerState) -> None:
        if sticky is None or (len(self.pool.servers) == 1 and sticky in self._homes):
            return
        self._homes[sticky] = server
        if len(self._homes) > STICKY_PICTURES:
            self._homes.popitem(last=False)

    async def _send(
        self, server: ServerState, question: Question, *, known: frozenset[str]
    ) -> Reply:
        body = await request_body(
            question,
            known=known,
            by_file=server.pictures == "file",
            model=self.model,
            extra_body=self._extra_body,
        )
        self._on_request(server.url)
        async with server.session.post(
            f"{server.url}/chat/completions",
            data=body,
            headers=_JSON_BODY,
        ) as response:
            payload = await response.read()
            if response.status == 200:
                return read_completion(payload)
            message = error_message(payload)
            if response.status in (429, 503):
                self.pool.pushed_back(server, retry_after_s(response.headers))
                raise _Trouble(f"{server.url}: {response.status} {message}", pushed_back=True)
            if response.status in (400, 422) and known:
                raise _PictureNotCached
            if response.status in _WRONG_ADDRESS and len(self.pool.servers) == 1:
                raise EndpointDown(
                    f"{server.url}: {response.status} {message}. Check the recipe's url, model "
                    "and the variable that api_key_env names."
                )
            if 400 <= response.status < 500 and response.status not in _ENDPOINTS_FAULT:
                raise _refusal(response.status, message)
            raise aiohttp.ClientResponseError(
                response.request_info, (), status=response.status, message=message
            )


def error_message(payload: bytes) -> str:
    """What a server's error body says, at most 300 characters."""
    text = payload[:4000].decode("utf-8", "replace")
    try:
        value = json.loads(text)
        inner = value.get("error", value)
        text = inner.get("message", text) if isinstance(inner, dict) else str(inner)
    except (ValueError, AttributeError):
        pass
    return " ".join(str(text).split())[:300].encode("utf-8", "replace").decode()


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds of a `Retry-After` header, at most 300; None where there is none or it is a date."""
    try:
        return min(300.0, max(0.0, float(headers["Retry-After"])))
    except (KeyError, ValueError):
        return None


def _refusal(status: int, message: str) -> RequestRefused:
    lowered = message.lower()
    too_long = any(words in lowered for words in _TOO_LONG)
    return RequestRefused(
        "request:too_long" if too_long else "request:refused", f"{status} {message}"
    )
