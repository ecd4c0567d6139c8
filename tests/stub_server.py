"""The one fake of the test run: an OpenAI-compatible chat server whose replies are pure functions.

In a test: `async with serve_stub(Behaviour(...)) as stub:` and `stub.url`, `stub.requests`.
As a process: `python tests/stub_server.py --port 0 --print-port`, or `with stub_process(...)`.
A running one is changed by `POST /stub/behaviour` and read by `GET /stub/log`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any

import orjson
from aiohttp import web
from stub_answers import make_answer
from stub_behaviour import Behaviour, behaviour_from
from stub_process import StubProcess, stub_process
from stub_replies import compile_filler, exactly

__all__ = ["Behaviour", "Request", "Stub", "StubProcess", "row_of", "serve_stub", "stub_process"]

_PICTURE_TOKENS = 36
_HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(slots=True)
class Request:
    """One chat request as the stub saw it. `outcome`: a status, a trouble, "open" or "gone".

    `digest` is of all that the reply depends on, `row` of that without retry text and sampling;
    `fault` is what was wrong with the content of a 200; `held_s` is from its last byte to when the
    answer was handed over.
    """

    kind: str
    time_s: float
    row: str = ""
    digest: str = ""
    attempt: int = 1
    n: int = 1
    temperature: float | None = None
    seed: int | None = None
    pictures_bytes: int = 0
    pictures_uuid: int = 0
    outcome: str = "open"
    fault: str | None = None
    held_s: float | None = None


class Refused(Exception):
    """The stub answers with an error status, in vLLM's form."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError") -> None:
        super().__init__(message)
        error = {"message": message, "type": kind, "param": None, "code": status}
        self.status, self.body = status, orjson.dumps({"error": error})


class Stub:
    """State of one stub: its behaviour, the uuids it knows, and its log of requests."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.url = ""
        self.behaviour = behaviour
        self.reset()

    def reset(self) -> None:
        """Forget requests, counters, pictures and the place in `trouble`, as a restart does."""
        self.requests: list[Request] = []
        self.counts: Counter[str] = Counter()
        self.arrived = self.running = self.max_running = self.queued = 0
        self._uuids: dict[str, None] = {}
        self._fillers: dict[bytes, Any] = {}
        self._replies: dict[Any, tuple[bytes, str | None]] = {}
        self.become(self.behaviour)

    def become(self, behaviour: Behaviour) -> None:
        """Change behaviour from the next request on; `trouble` starts anew."""
        self.behaviour = behaviour
        if not behaviour.collects_garbage:
            gc.freeze()
            gc.disable()
        self._trouble = list(behaviour.trouble)
        self._fillers.clear()
        self._slots = asyncio.Semaphore(behaviour.slots) if behaviour.slots else None
        self._replies.clear()

    def log(self) -> dict[str, Any]:
        """What `GET /stub/log` answers: counters, and one entry a request in order of arrival."""
        return {
            "counts": dict(self.counts),
            "arrived": self.arrived,
            "running": self.running,
            "max_running": self.max_running,
            "requests": [asdict(request) for request in self.requests],
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request."""
        path = request.raw_path
        if path == "/v1/chat/completions":
            return await self._chat(request)
        behaviour = self.behaviour
        if path == "/health":
            return web.Response()
        if path == "/stub/log":
            return _json(orjson.dumps(self.log()))
        if path == "/stub/reset":
            self.reset()
            return _json(b"{}")
        if path == "/stub/behaviour":
            values = orjson.loads(await request.read())
            self.become(replace(behaviour, **_values(values)))
            return _json(b"{}")
        if refused := self._locked(request):
            return refused
        if path == "/v1/models":
            models = [
                {"id": name, "object": "model", "max_model_len": behaviour.max_model_len}
                for name in behaviour.models
            ]
            return _json(orjson.dumps({"object": "list", "data": models}))
        if path == "/version":
            return _json(b'{"version":"0.0.stub"}')
        if path == "/metrics" and behaviour.metrics:
            waiting = self.queued if behaviour.waiting is None else behaviour.waiting
            names = {"running": self.running - self.queued, "waiting": waiting}
            lines = (f'vllm:num_requests_{k}{{engine="0"}} {float(v)}' for k, v in names.items())
            return web.Response(text="\n".join(lines) + "\n")
        return _json(Refused(404, "Not Found", "NotFoundError").body, 404)

    def _locked(self, request: web.BaseRequest) -> web.Response | None:
        key = self.behaviour.api_key
        if key is None or request.headers.get("Authorization") == f"Bearer {key}":
            return None
        return _json(b'{"error":"Unauthorized"}', 401)

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        raw = await request.read()
        self.arrived += 1
        self.running += 1
        arrived = time.monotonic()
        self.max_running = max(self.max_running, self.running)
        entry = Request("unread", time.time())
        if self.behaviour.log:
            self.requests.append(entry)
        try:
            if refused := self._locked(request):
                entry.outcome = "401"
                return refused
            return await self._answer(request, raw, entry)
        except Refused as error:
            entry.outcome = str(error.status)
            return _json(error.body, error.status, self.behaviour.retry_after_s)
        except asyncio.CancelledError:
            entry.outcome = "gone"
            raise
        finally:
            self.running -= 1
            entry.held_s = time.monotonic() - arrived

    async def _answer(
        self, request: web.BaseRequest, raw: bytes, entry: Request
    ) -> web.StreamResponse:
        behaviour = self.behaviour
        body = orjson.loads(raw)
        schema = (body.get("response_format") or {}).get("json_schema") or {}
        entry.kind = schema.get("name", "free")
        self.counts[entry.kind] += 1
        form = orjson.dumps(schema["schema"]) if schema else b""
        fresh = [] if behaviour.fixed_reply else self._read(body, form, entry)
        trouble = self._next_trouble()
        if trouble and trouble.isdigit():
            raise Refused(int(trouble), f"the stub was told to answer {trouble}", "StubError")
        self._check_model(body)
        # Remembered only now: a server that turns a request away has not seen its pictures.
        self._remember(fresh)
        reply, fault = self._reply(body, schema.get("schema"), form, entry)
        await self._take_time(entry.row)
        entry.fault = fault
        entry.outcome = trouble or "200"
        if trouble is None:
            return _json(reply)
        return await _misbehave(trouble, request, reply)

    def _next_trouble(self) -> str | None:
        behaviour = self.behaviour
        if self._trouble:
            return self._trouble.pop(0)
        if behaviour.busy_above is not None and self.running > behaviour.busy_above:
            return str(behaviour.busy_status)
        if behaviour.trouble_every and self.arrived % behaviour.trouble_every == 0:
            return behaviour.trouble_kind
        return behaviour.always

    def _check_model(self, body: dict[str, Any]) -> None:
        model = body.get("model")
        if not self.behaviour.any_model and model not in self.behaviour.models:
            raise Refused(404, f"The model `{model}` does not exist.", "NotFoundError")

    async def _take_time(self, row: str) -> None:
        low, high = self.behaviour.latency_s
        share = int(row[:6] or "0", 16) / 0x1000000
        if self._slots is None:
            if high:
                await asyncio.sleep(low + (high - low) * share)
            return
        self.queued += 1
        slots = self._slots
        try:
            await slots.acquire()
        finally:
            self.queued -= 1
        try:
            await asyncio.sleep(low + (high - low) * share)
        finally:
            slots.release()

    def _reply(
        self, body: dict[str, Any], schema: Any, form: bytes, entry: Request
    ) -> tuple[bytes, str | None]:
        """The body of the answer and the fault in it."""
        behaviour = self.behaviour
        n, wants_logprobs = body.get("n") or 1, bool(body.get("logprobs"))
        start: Any = form if behaviour.fixed_reply else entry.digest
        key = (start, n, wants_logprobs, body.get("max_tokens"))
        if key in self._replies:
            return self._replies[key]
        fault = None
        if behaviour.has_faults:
            fault = behaviour.fault(int(entry.row[:8] or "0", 16) / (1 << 32), entry.attempt)
        if fault == "refuse_status":
            raise Refused(behaviour.refuse_status, "the stub was told to refuse this row")
        if schema is None or not behaviour.constrained:
            filler = None
        elif (filler := self._fillers.get(form)) is None:
            filler = self._fillers[form] = compile_filler(exactly(schema, behaviour.list_items))
        pictures = (entry.pictures_bytes + entry.pictures_uuid) * _PICTURE_TOKENS
        answer = make_answer(behaviour, body, filler, entry.digest or "0", fault, pictures)
        if len(self._replies) > 20_000:
            self._replies.clear()
        self._replies[key] = answer, fault
        return answer, fault

    def _read(self, body: dict[str, Any], form: bytes, entry: Request) -> list[str]:
        """Take digests of what is asked; returns uuids of pictures that came as bytes.

        Raises Refused for what vLLM would refuse before it asks the model.
        """
        behaviour = self.behaviour
        row, rest, fresh = blake2b(form, digest_size=8), [], []
        characters, seen, attempt, in_row = 0, 0, 1, True
        for message in body["messages"]:
            in_row = in_row and message["role"] != "assistant"
            content = message["content"]
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            for part in parts or ():
                if part["type"] != "text":
                    row.update(self._picture(part, seen, entry, fresh).encode())
                    seen += 1
                    continue
                text = part["text"]
                characters += len(text)
                retries = text.count(behaviour.retry_text)
                if in_row:
                    row.update(text.split(behaviour.retry_text)[0].rstrip().encode())
                if retries or not in_row:
                    rest.append(text)
                attempt += retries
                in_row = in_row and not retries
        temperature, seed = body.get("temperature"), body.get("seed")
        if behaviour.seed_base is not None and seed is not None:
            attempt = seed - behaviour.seed_base + 1
        entry.row, entry.attempt, entry.n = row.hexdigest(), attempt, body.get("n") or 1
        entry.temperature, entry.seed = temperature, seed
        row.update(repr((rest, temperature, body.get("top_p"), seed, body.get("model"))).encode())
        entry.digest = row.hexdigest()
        self._check_length(characters // 4 + _PICTURE_TOKENS * seen, body)
        return fresh

    def _check_length(self, asked: int, body: dict[str, Any]) -> None:
        """As vLLM 0.32: a prompt too long is refused, a reply too long is cut without a word."""
        limit, wanted = self.behaviour.max_model_len, body.get("max_tokens")
        if limit is None:
            return
        if asked > limit:
            text = self.behaviour.too_long_text.format(limit=limit, asked=asked)
            raise Refused(400, text)
        if wanted and wanted > limit:
            text = f"max_tokens={wanted} cannot be greater than max_model_len={limit}."
            raise Refused(400, text)
        if wanted and asked + wanted > limit:
            body["max_tokens"] = max(1, limit - asked)

    def _picture(self, part: dict[str, Any], index: int, entry: Request, fresh: list[str]) -> str:
        """What identifies a picture: its uuid, else a hash of what was sent."""
        behaviour = self.behaviour
        if not behaviour.takes_pictures:
            raise Refused(400, "stub is not a multimodal model")
        uuid, sent = part.get("uuid"), (part.get("image_url") or {}).get("url")
        if sent is None:
            entry.pictures_uuid += 1
            if uuid not in self._uuids:
                text = behaviour.cache_miss_text.format(index=index, uuid=uuid)
                raise Refused(behaviour.cache_miss_status, text)
            return str(uuid)
        entry.pictures_bytes += 1
        if uuid is None:
            return blake2b(sent.encode(), digest_size=16).hexdigest()
        fresh.append(uuid)
        return str(uuid)

    def _remember(self, uuids: list[str]) -> None:
        limit = self.behaviour.picture_cache
        for uuid in uuids if limit else ():
            while len(self._uuids) >= limit and uuid not in self._uuids:
                self._uuids.pop(next(iter(self._uuids)))
            self._uuids[uuid] = None


def row_of(raw: bytes) -> str:
    """The `row` by which the log knows the request with this body."""
    body, entry = orjson.loads(raw), Request("unread", 0.0)
    form = orjson.dumps(body["response_format"]["json_schema"]["schema"])
    Stub(Behaviour())._read(body, form, entry)
    return entry.row


async def _misbehave(trouble: str, request: web.BaseRequest, reply: bytes) -> web.StreamResponse:
    match trouble:
        case "html":
            return web.Response(body=_HTML, content_type="text/html")
        case "garbage":
            return _json(b'\x00{"choices": [}')
        case "truncated":
            return _json(reply[: len(reply) // 2])
        case "no_choices":
            return _json(b'{"object":"chat.completion","choices":[]}')
        case "null":
            return _json(b"null")
        case "hang":
            await asyncio.sleep(86_400)
        case "drop_mid":
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            response.content_length = len(reply)
            await response.prepare(request)
            await response.write(reply[: len(reply) // 2])
    if request.transport:
        request.transport.abort()
    raise asyncio.CancelledError


def _json(body: bytes, status: int = 200, retry_after_s: float | None = None) -> web.Response:
    headers = {"Content-Type": "application/json"}
    if retry_after_s is not None and status in (429, 503):
        headers["Retry-After"] = f"{retry_after_s:g}"
    return web.Response(body=body, status=status, headers=headers)


def _values(values: dict[str, Any]) -> dict[str, Any]:
    return {k: getattr(behaviour_from({k: v}), k) for k, v in values.items()}


def _big_request(*parts: Any) -> web.BaseRequest:
    return web.BaseRequest(*parts, asyncio.get_running_loop(), client_max_size=1 << 30)


@asynccontextmanager
async def serve_stub(behaviour: Behaviour | None = None, port: int = 0) -> AsyncIterator[Stub]:
    """Serve in this event loop; `stub.url` ends in `/v1`."""
    stub = Stub(behaviour or Behaviour())
    server = web.Server(
        stub.handle, request_factory=_big_request, handler_cancellation=True, access_log=None
    )
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=4096)
    await site.start()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield stub
    finally:
        await runner.cleanup()


async def _serve_until_alone(options: argparse.Namespace) -> None:
    parent = os.getppid()
    async with serve_stub(behaviour_from(orjson.loads(options.behaviour)), options.port) as stub:
        if options.print_port:
            print(stub.url.split(":")[2].removesuffix("/v1"), flush=True)
        while os.getppid() == parent or options.stay:
            await asyncio.sleep(1)


def main() -> None:
    """Serve as a process until it is killed or its parent is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--print-port", action="store_true", help="first line on stdout")
    parser.add_argument("--behaviour", default="{}", help="JSON of Behaviour fields")
    parser.add_argument("--cpu", type=int, help="run on this core alone")
    parser.add_argument("--stay", action="store_true", help="outlive the parent")
    options = parser.parse_args()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    asyncio.run(_serve_until_alone(options))


if __name__ == "__main__":
    main()
