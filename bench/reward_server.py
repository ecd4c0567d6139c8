"""What the reward server adds to a judge's own time, on a stub that takes 300 to 700 ms.

Saturation: many clients that each send again when they have their answer, counted once they have
settled. The stub alone, asked by as many with the bodies that the server sends, has to give well
more, or it is not the server that is saturated. Open loop: arrivals are Poisson at half of the
server's saturation, one picture of about 20 kB an item. Added is the time from when an item was
due, less the time that the stub held it by the stub's own log; what the load adds by itself is told
by the same of the stub alone. The stub and the load share one core, the server has the other.

    .venv/bin/python -m bench.reward_server [--seconds 60]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import io
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from PIL import Image

from bench.reward_process import listening, reward_process
from foundry.rewards.client import gen_item
from foundry.rewards.items import raw_item, read_item
from foundry.rewards.scoring import make_stages
from foundry.rewards.settings import RewardSettings
from pipelines.questions import request_body
from pipelines.rendering import student_prompt
from pipelines.stages import stage_question

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
LATENCY_S = (0.3, 0.7)
CLIENTS = 256
WARM_S, SATURATE_S = 15.0, 10.0
MOST_SATURATING = 15_000
Send = Callable[[bytes], Awaitable[None]]


def main() -> None:
    """Measure and print."""
    from stub_process import stub_process

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    # A pause of the load or of the stub would be taken for one of the server.
    quiet = stub_process(cpu=0, collects_garbage=False)
    with tempfile.TemporaryDirectory() as folder, quiet as stub:
        settings = {"endpoint": {"url": stub.url, "model": "stub", "max_in_flight": 4096}}
        settings |= {"max_waiting": 100_000}
        os.sched_setaffinity(0, {0})
        alone = ("taskset", "-c", "1")
        with reward_process(settings, Path(folder), before=alone) as server:
            url = listening(server)["rewards"]
            stub.become(latency_s=LATENCY_S)
            gc.freeze()
            gc.disable()
            checked = RewardSettings.model_validate(settings)
            asyncio.run(measure(url, stub, checked, seconds=options.seconds))


async def measure(url: str, stub: Any, settings: RewardSettings, *, seconds: float) -> None:
    """Saturation of the stub and of the server, then both open loops at half of the latter."""
    from stub_server import row_of

    timeout = aiohttp.ClientTimeout(total=120)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        judge, scored = f"{stub.url}/chat/completions", f"{url}/v1/score"
        first = [make_item(-i) for i in range(1, MOST_SATURATING + 1)]
        bodies = [await direct_body(item, settings) for item in first]
        alone = await saturation(sender(session, judge), bodies)
        await asyncio.to_thread(stub.reset)
        rate = await saturation(sender(session, scored), list(map(item_body, first))) / 2
        first.clear()
        # Pictures that the judge has not seen: known ones are sent by name.
        n = round(rate * seconds)
        items = [make_item(i) for i in range(n)]
        bodies = [item_body(item) for item in items]
        print(f"saturation {2 * rate:.0f} items/s; the stub alone {alone:.0f}", flush=True)
        print(f"now {rate:.0f} items/s, {n} items", flush=True)
        dice = random.Random(0)
        gaps = [dice.expovariate(rate) for _ in range(n)]
        direct = [await direct_body(item, settings) for item in items]
        rows = [row_of(body) for body in direct]
        for name, to, sent in (
            ("by the load", judge, direct),
            ("by the server too", scored, bodies),
        ):
            await asyncio.to_thread(stub.reset)
            took = await open_loop(sender(session, to), sent, gaps)
            requests = await asyncio.to_thread(stub.requests)
            held = {one["row"]: one["held_s"] for one in requests}
            if len(requests) != n or set(held) != set(rows):
                raise SystemExit(f"{len(requests)} requests reached the stub for {n} items")
            tell(name, [one - held[row] for one, row in zip(took, rows, strict=True)])
    print(f"a picture has {sum(map(len, bodies)) / n * 3 / 4 / 1000:.0f} kB")


def tell(name: str, added_s: Sequence[float]) -> None:
    """Print what was added to the stub's own time."""
    middle, late = (1000 * float(q) for q in np.quantile(added_s, [0.5, 0.99]))
    print(f"added {name:<20} p50 {middle:7.1f} ms  p99 {late:7.1f} ms")


def make_item(number: int) -> dict[str, str]:
    """An item with a picture of its own, of about 20 kB."""
    noise = np.random.default_rng(number % 2**32).integers(0, 256, (56, 64, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((256, 224))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return gen_item(f"A prompt of number {number}.", out.getvalue())


def item_body(item: dict[str, str]) -> bytes:
    """A request to the server with one item."""
    return json.dumps({"items": [item]}).encode()


async def direct_body(item: dict[str, str], settings: RewardSettings) -> bytes:
    """What the server sends to the judge for an item."""
    made = read_item(raw_item(item), limits=settings.images)
    stage = make_stages(settings)[made.kind]
    _, text = student_prompt({"prompt": made.text}, None, score_only=True)
    question = stage_question(stage, text, made.pictures, logprobs=True)
    return await request_body(
        question,
        known=frozenset(),
        by_file=False,
        model=settings.endpoint[0].model,
        extra_body="{}",
    )


def sender(session: aiohttp.ClientSession, url: str) -> Send:
    """Sends a body and reads the reply; anything but a 200 ends the measurement."""
    headers = {"Content-Type": "application/json"}

    async def send(body: bytes) -> None:
        async with session.post(url, data=body, headers=headers) as response:
            answer: Any = await response.read()
            if response.status != 200 or b'"valid":false' in answer:
                raise SystemExit(f"{url}: {response.status} {answer[:200]!r}")

    return send


async def saturation(send: Send, bodies: Sequence[bytes]) -> float:
    """Items a second of many clients that each send again when they have their answer.

    The first seconds are left out, while the server finds its pace, and the last, when clients end.
    """
    done, left = 0, iter(bodies)
    begin = time.monotonic() + WARM_S
    until = begin + SATURATE_S

    async def client() -> None:
        nonlocal done
        for body in left:
            await send(body)
            now = time.monotonic()
            if now > until:
                return
            done += now > begin
        raise SystemExit(f"{len(bodies)} items were too few for {WARM_S + SATURATE_S:g} s")

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done / SATURATE_S


async def open_loop(send: Send, bodies: Sequence[bytes], gaps: Sequence[float]) -> list[float]:
    """Seconds of each request, sent at its time whatever became of those before."""
    took = [0.0] * len(gaps)

    async def one(number: int, due: float) -> None:
        await asyncio.sleep(due - time.monotonic())
        await send(bodies[number])
        # From when it was due: a sender that lags must not hide a queue.
        took[number] = time.monotonic() - due

    start = time.monotonic() + 0.5
    due = start + np.cumsum(gaps)
    await asyncio.gather(*(one(i, float(at)) for i, at in enumerate(due)))
    return took


if __name__ == "__main__":
    main()
