"""The reward server under requests that mean it ill, with good ones beside them.

Random bytes and JSON, pickles that would run something or never end, pictures that lie about
themselves or are huge when decoded, paths that lead elsewhere, bodies over the limit, bodies and
heads without end, no token. What is looked for: a crash, a file that was made, a picture that was
read outside its folder, memory that grows, an answer of the wrong kind, a good request without its
answer.

    .venv/bin/python -m bench.reward_abuse [--requests 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

from bench.reward_fuzz import KINDS, MAX_BODY, good_request, lay_out
from bench.reward_process import listening, reward_process

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
TOKEN = "a-token-of-twenty-ch"
AT_ONCE = 32
BODY_S = 3.0
# A sender that is cut short may hear nothing but that.
CUT_SHORT = {"ClientOSError", "ClientConnectionResetError", "ServerDisconnectedError"}
# The most memory at any time, in MB: a decoded picture a core, and the bodies that may be held. And
# how much more at the end than a quarter of the way.
MOST_MB, MOST_GROWTH_MB = 1500, 150


def main() -> int:
    """Abuse and print what came of it. Returns 1 if anything was wrong."""
    from stub_process import stub_process

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--requests", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, stub_process() as stub:
        folder = Path(name)
        lay_out(folder)
        settings = {
            "endpoint": {"url": stub.url, "model": "stub"},
            "files": str(folder / "allowed"),
            "max_body_mb": MAX_BODY / 1e6,
            "body_timeout_s": BODY_S,
            "deadline_s": 30.0,
            "trainer_wire": {"port": 0},
            "token_env": "REWARD_TOKEN",
        }
        env = {**os.environ, "REWARD_TOKEN": TOKEN}
        with reward_process(settings, folder, env=env) as server:
            # Either may be the first to say where it is.
            found = listening(server, addresses=2)
            urls = [found["rewards"], found["trainers' formats"]]
            wrong = asyncio.run(abuse(urls, folder, server.pid, options.requests))
            if server.poll() is not None:
                wrong.append(f"the server ended with status {server.returncode}")
        if (folder / "made").exists():
            wrong.append("a pickle was run")
    for line in wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


async def abuse(urls: list[str], folder: Path, pid: int, n: int) -> list[str]:
    """Send everything. Returns what was wrong."""
    statuses: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    numbers = iter(range(n))
    good = {"asked": 0, "slowest": 0.0}
    done = asyncio.Event()
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def worker() -> None:
            for number in numbers:
                dice = random.Random(number)
                kind = dice.choice(list(KINDS))
                path, body = KINDS[kind](dice, folder)
                url = urls[is_wire(path)] + path
                if kind == "silent":
                    status, answer = await _silence(url, body)
                else:
                    token = None if kind == "no token" else TOKEN
                    status, answer = await _post(session, url, body, token, slow=kind == "slow")
                statuses[kind, str(status)] += 1
                if status not in expected(kind, path, len(body)):
                    wrong.append(f"{kind}: {path} {status}")
                if str(folder).encode() in answer or b"Traceback" in answer:
                    wrong.append(f"{kind}: told {answer[:100]!r}")
                if kind == "path" and status == 200 and is_scored(json.loads(answer)):
                    wrong.append(f"{kind}: read what {body!r} leads to")

        async def honest() -> None:
            while not done.is_set():
                number, started = good["asked"], time.monotonic()
                path, value = good_request(number, folder)
                body = json.dumps(value).encode()
                status, answer = await _post(session, urls[0] + path, body, TOKEN)
                if status != 200 or not is_scored(json.loads(answer)):
                    wrong.append(f"a good request got {status} {answer[:100]!r}")
                good["asked"] += 1
                good["slowest"] = max(good["slowest"], time.monotonic() - started)
                await asyncio.sleep(0.02)

        beside = asyncio.ensure_future(honest())
        watch = _watch(pid, done, n, statuses, wrong)
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)), watch)
        await beside
    print(f"{good['asked']} good requests beside them, the slowest {good['slowest']:.2f} s")
    for (kind, status), count in sorted(statuses.items()):
        print(f"{kind:<16} {status:<12} {count}")
    return wrong


def is_wire(path: str) -> bool:
    """Whether a path is of the trainers' port."""
    return path.startswith("/mode") or path == "/compute"


def expected(kind: str, path: str, size: int) -> set[Any]:
    """What docs/rewards.md promises for a request; nothing here fills the server, so no 429."""
    if kind == "silent":
        return {"closed"}
    # One that is announced as far too large is answered before it is read.
    cut_short = CUT_SHORT if size > 2 * MAX_BODY else set()
    if path.startswith("/mode"):
        return {500} | cut_short  # No picture of these can be scored.
    match kind:
        case "bytes":
            return {404} if path in ("/", "/v1/none") else {400}
        case "json":
            return {200, 400, 503} if path == "/compute" else {200, 400}
        case "endless" if path == "/compute":
            return {503}
        case "large":
            return {413} | (cut_short or {408})
        case "slow":
            return {408}
        case "no token":
            return {401}
    return {200}  # Whatever is wrong is the item's.


def is_scored(answer: dict[str, Any]) -> bool:
    """Whether an answer, to one item or to a group, has all its rewards."""
    if "items" in answer:
        return answer["items"][0]["valid"]
    return None not in answer["rewards"]


async def _watch(
    pid: int, done: asyncio.Event, n: int, statuses: Counter[Any], wrong: list[str]
) -> None:
    """Memory at a quarter and at the end, and the end's sign to the good client."""
    quarter = 0
    while sum(statuses.values()) < n:
        await asyncio.sleep(0.2)
        if not quarter and sum(statuses.values()) > n / 4:
            quarter = _peak_mb(pid)
    end = _peak_mb(pid)
    print(f"memory at most {quarter} MB in the first quarter, {end} MB in all")
    if end > quarter + MOST_GROWTH_MB:
        wrong.append(f"memory grew from {quarter} to {end} MB")
    if end > MOST_MB:
        wrong.append(f"memory was {end} MB")
    done.set()


def _peak_mb(pid: int) -> int:
    """The most memory that a process had so far; 0 for one that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(status.split("VmHWM:")[1].split()[0]) // 1000


async def _silence(url: str, begun: bytes) -> tuple[str, bytes]:
    """What becomes of a connection on which a request is begun, or not even that."""
    host, port = url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(begun)
        answer = await asyncio.wait_for(reader.read(), 30)
        return ("answered" if answer else "closed"), answer
    except TimeoutError:
        return "open", b""
    except ConnectionError:
        return "closed", b""
    finally:
        writer.close()


async def _post(
    session: aiohttp.ClientSession, url: str, body: bytes, token: str | None, *, slow: bool = False
) -> tuple[int | str, bytes]:
    async def trickle() -> Any:
        yield body[:10]
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(2 * BODY_S)

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = trickle() if slow else body
    try:
        async with session.post(url, data=data, headers=headers) as response:
            return response.status, await response.read()
    except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
        return type(error).__name__, b""


if __name__ == "__main__":
    sys.exit(main())
