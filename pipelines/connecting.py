"""From endpoints to a client: servers started where they must be, probed, and put in a pool."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from pipelines.build import BuildRefused
from pipelines.chat import Chat
from pipelines.endpoint_settings import Endpoint, Launch
from pipelines.endpoints import EndpointPool, ServerState
from pipelines.launch import (
    LaunchFailed,
    Server,
    check_running,
    start_server,
    stop_server,
    wait_until_ready,
)
from pipelines.probe import EndpointUnreachable, probe_endpoint, require

Say = Callable[[str], None]


class Servers:
    """Servers started for a run, or for several that share them. Close it to stop them all."""

    def __init__(self) -> None:
        self._running: dict[str, Server] = {}
        self._lock = asyncio.Lock()

    async def server_of(self, launch: Launch, log_path: Path, say: Say) -> Server:
        """The server for a launch, started when it does not run yet.

        Raises LaunchFailed with the end of its log and the cure.
        """
        key = launch.model_dump_json()
        async with self._lock:
            if key not in self._running:
                say(f"starting a server for {launch.model}; log in {log_path}")
                server = await asyncio.to_thread(start_server, launch, log_path=log_path)
                self._running[key] = server
                try:
                    await wait_until_ready(server, timeout_s=launch.ready_timeout_s)
                except LaunchFailed:
                    del self._running[key]
                    raise
                say(f"server for {launch.model} is ready at {server.url}")
            return self._running[key]

    def close(self) -> None:
        """Stop every server and wait until it is gone."""
        for server in self._running.values():
            stop_server(server)
        self._running.clear()


async def connect(
    role: str,
    endpoints: Sequence[Endpoint],
    *,
    servers: Servers,
    log_path: Path,
    pictures: int,
    outage_timeout_s: float,
    say: Say,
    on_request: Callable[[str], None] = lambda url: None,
    on_probe: Callable[[dict[str, Any]], None] = lambda report: None,
) -> Chat:
    """The client of a role's endpoints, those that nobody answers at left out if there are others.

    `pictures` are in one question, 0 for a role that sees none; `log_path` is of a server that is
    started; `on_request` as in `Chat`; `on_probe` hears what was found of each endpoint.
    Raises LaunchFailed, EndpointUnfit, or EndpointDown, each saying what to do.
    """

    async def server_of(endpoint: Endpoint) -> ServerState:
        if endpoint.launch is not None:
            launched = await servers.server_of(endpoint.launch, log_path, say)
            url, check = launched.url, partial(check_running, launched)
        else:
            url, check = endpoint.url or "", _nothing_to_check
        headers = request_headers(endpoint)
        async with aiohttp.ClientSession() as session:
            report = await probe_endpoint(
                session,
                url=url,
                model=endpoint.model_name,
                headers=headers,
                extra_body=endpoint.extra_body,
                needs_pictures=pictures > 0,
                pictures=max(1, pictures),
                timeout_s=min(endpoint.timeout_s, outage_timeout_s),
            )
        on_probe({"url": url, **asdict(report)})
        require(report, url=url, model=endpoint.model_name, needs_pictures=pictures > 0)
        return ServerState(
            url=url,
            headers=headers,
            pictures=endpoint.pictures,
            max_in_flight=endpoint.max_in_flight,
            timeout_s=endpoint.timeout_s,
            check_running=check,
        )

    found = await asyncio.gather(*map(server_of, endpoints), return_exceptions=True)
    ready = [server for server in found if isinstance(server, ServerState)]
    for fault in found:
        if isinstance(fault, EndpointUnreachable) and ready:
            say(f"{role}: going on without {fault}")
        elif isinstance(fault, BaseException):
            await asyncio.gather(*(server.session.close() for server in ready))
            raise fault
    say(f"{role}: {', '.join(server.url for server in ready)} ready")
    return Chat(
        EndpointPool(ready),
        model=endpoints[0].model_name,
        extra_body=endpoints[0].extra_body,
        outage_timeout_s=outage_timeout_s,
        on_request=on_request,
    )


def _nothing_to_check() -> None:
    """A server that somebody else runs may come back; only time tells."""


def request_headers(endpoint: Endpoint) -> Mapping[str, str]:
    """The recipe's headers, and the key from the variable that `api_key_env` names.

    Raises BuildRefused naming the variable when it is not set.
    """
    headers = dict(endpoint.headers)
    if endpoint.api_key_env:
        key = os.environ.get(endpoint.api_key_env, "").strip()
        if not key:
            raise BuildRefused(
                f"the environment variable {endpoint.api_key_env} is not set (api_key_env)"
            )
        headers["Authorization"] = f"Bearer {key}"
    return headers
