"""A real vLLM for measurements, whose caches can be emptied between runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from pipelines.endpoint_settings import Launch
from pipelines.launch import Server, start_server, wait_until_ready

ROOT = Path(__file__).resolve().parent.parent


def start_vllm(model: str, folder: Path, args: Sequence[str] = ()) -> Server:
    """A server that is ready; `stop_server` ends it. Raises LaunchFailed."""
    env = {"VLLM_SERVER_DEV_MODE": "1"}  # for emptying the caches
    launch = Launch(model=model, args=tuple(args), env=env)
    server = start_server(launch, log_path=folder / "server.log", folder=ROOT)
    asyncio.run(wait_until_ready(server, timeout_s=900))
    return server


async def empty_caches(url: str) -> None:
    """Forget prefixes and pictures; `url` ends in `/v1`. Ends the measurement if it can't."""
    async with aiohttp.ClientSession() as session:
        for cache in ("prefix", "mm", "encoder"):
            at = f"{url.removesuffix('/v1')}/reset_{cache}_cache"
            async with session.post(at) as response:
                text = await response.text()
                if response.status != 200 or '"success":false' in text:
                    raise SystemExit(f"{at}: {response.status} {text[:200]}")
