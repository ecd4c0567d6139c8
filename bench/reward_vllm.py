"""The reward server at saturation on a real vLLM, beside a plain load on the same one.

64 clients send one picture a request, each again when it has its answer: to the server, and in
turn to vLLM itself, with the bodies that the server sends. Order alternates; vLLM's caches are
emptied before each. With --soak the same clients go on for so many seconds, every picture a new
one, and memory, threads and open files of the server are told as they go.

    .venv/bin/python -m bench.reward_vllm [--seconds 60] [--pairs 3] [--soak 600]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
import time
from pathlib import Path
from statistics import median

import aiohttp

from bench.real_vllm import empty_caches, start_vllm
from bench.reward_process import listening, reward_process
from bench.reward_server import Send, direct_body, item_body, make_item, sender
from foundry.rewards.settings import RewardSettings
from pipelines.launch import stop_server

MODEL = "foundry/shapeworld/judge"
CLIENTS = 64
TRIAL = 1500
EVERY_S = 15.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run, about")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--soak", type=float, default=0.0, metavar="SECONDS")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vllm = start_vllm(MODEL, folder)
        try:
            settings = {"endpoint": {"url": vllm.url, "model": MODEL}}
            with reward_process(settings, folder) as server:
                url = listening(server)["rewards"]
                if options.pairs:
                    checked = RewardSettings.model_validate(settings)
                    asyncio.run(compare(url, vllm.url, checked, options.seconds, options.pairs))
                if options.soak:
                    asyncio.run(soak(url, server.pid, options.soak))
        finally:
            stop_server(vllm)


async def compare(
    url: str, vllm: str, settings: RewardSettings, seconds: float, pairs: int
) -> None:
    """Rates of the server and of the plain load, and their ratio, by pair of runs."""
    # Every run has pictures of its own: the server sends by name what it knows vLLM has.
    firsts = itertools.count()
    to = {
        "server": (f"{url}/v1/score", _as_asked),
        "plain": (f"{vllm}/chat/completions", direct_body),
    }

    async def one(side: str, n: int) -> float:
        address, body = to[side]
        first = next(firsts) * 1_000_000
        bodies = [await body(make_item(first + i), settings) for i in range(n)]
        await empty_caches(vllm)
        # Connections of its own: those that were idle meanwhile may have been closed.
        async with _session() as session:
            return await _rate(sender(session, address), bodies)

    # Both have met everything that is made once before they are measured.
    rates = {side: await one(side, TRIAL) for side in ("server", "plain")}
    n = round(seconds * rates["plain"])
    ratios = []
    for pair in range(pairs):
        order = ("server", "plain") if pair % 2 == 0 else ("plain", "server")
        rates = {side: await one(side, n) for side in order}
        ratios.append(rates["server"] / rates["plain"])
        told = f"{rates['server']:.1f}/s, plain {rates['plain']:.1f}/s"
        print(f"{n} items each: server {told}, ratio {ratios[-1]:.3f}", flush=True)
    low, high = min(ratios), max(ratios)
    print(f"median ratio {median(ratios):.3f} ({low:.3f} to {high:.3f}), goal 0.95", flush=True)


async def soak(url: str, pid: int, seconds: float) -> None:
    """Keep the server busy, and tell what it holds; at the end, without any client."""
    numbers = itertools.count(500_000_000)
    answered = 0
    begin = time.monotonic()
    _tell("before", 0, holds(pid))

    async def client(send: Send) -> None:
        nonlocal answered
        while time.monotonic() - begin < seconds:
            await send(item_body(make_item(next(numbers))))
            answered += 1

    async def watch() -> None:
        while (left := seconds - (time.monotonic() - begin)) > 0:
            await asyncio.sleep(min(EVERY_S, left))
            _tell(f"{time.monotonic() - begin:.0f} s", answered, holds(pid))

    async with _session() as session:
        send = sender(session, f"{url}/v1/score")
        await asyncio.gather(watch(), *(client(send) for _ in range(CLIENTS)))
    await asyncio.sleep(5)
    _tell("5 s after", answered, holds(pid))


def holds(pid: int) -> dict[str, int]:
    """What a process has: resident `mb` (10^6 bytes), `threads` and open `files`, sockets too."""
    proc = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    return {
        "mb": round(int(status["VmRSS"].split()[0]) * 1024 / 1e6),
        "threads": int(status["Threads"]),
        "files": len(list((proc / "fd").iterdir())),
    }


def _tell(when: str, items: int, has: dict[str, int]) -> None:
    what = ", ".join(f"{value} {name}" for name, value in has.items())
    print(f"{when:>10}: {items} items, {what}", flush=True)


async def _rate(send: Send, bodies: list[bytes]) -> float:
    """Bodies a second, each sent once, from the first to the last answer."""
    left = iter(bodies)

    async def client() -> None:
        for body in left:
            await send(body)

    begin = time.monotonic()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return len(bodies) / (time.monotonic() - begin)


async def _as_asked(item: dict[str, str], _: RewardSettings) -> bytes:
    return item_body(item)


def _session() -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(total=300)
    return aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))


if __name__ == "__main__":
    main()
