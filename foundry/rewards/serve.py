"""Serve rewards: `python -m foundry.rewards.serve --config reward.yaml`."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import uvicorn
import uvloop
from cyclopts import App, Parameter
from fastapi import FastAPI

from foundry.rewards.routes import make_app
from foundry.rewards.service import Service
from foundry.rewards.settings import RewardSettings
from foundry.rewards.trainer_wire import make_wire
from pipelines.build import BuildRefused
from pipelines.chat import EndpointDown
from pipelines.connecting import Servers, connect
from pipelines.launch import LaunchFailed
from pipelines.probe import EndpointUnfit
from pipelines.recipe_files import RecipeRefused, load_recipe, parse_settings
from pipelines.runtime import GC_THRESHOLD
from pipelines.shard_run import gather_or_cancel
from pipelines.version import code_version

app = App(name="python -m foundry.rewards.serve", help_flags=["--help", "-h"], version_flags=[])
# For a source and an edited picture.
_PICTURES = 2
# Of one address; more are answered with a 503.
_CONNECTIONS = 4096
# How long a thread that decodes a picture may keep the loop from going on.
_SWITCH_S = 0.0005


@app.default
def main(
    *,
    config: Path,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative="")] = (),
) -> int:
    """Score pictures and edits for GRPO over HTTP.

    Parameters
    ----------
    config
        The settings, a YAML file such as examples/reward.yaml.
    settings
        A field to set over it, such as `--set mode=reasoning`; may be repeated.

    """
    try:
        checked = load_recipe(config, RewardSettings, parse_settings(settings))
        token = _token(checked)
        files = _folder(checked)
    except RecipeRefused as error:
        return _fail(error, 2)
    servers = Servers()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(checked, token, files, servers))
    except (LaunchFailed, EndpointUnfit, EndpointDown, BuildRefused, OSError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return 130
    finally:
        servers.close()


async def _serve(
    settings: RewardSettings, token: str | None, files: str | None, servers: Servers
) -> int:
    chat = await connect(
        "judge",
        settings.endpoint,
        servers=servers,
        log_path=Path("logs") / "reward-judge.log",
        pictures=_PICTURES,
        # A judge that is gone must be told as that, before the deadline of what waits for it.
        outage_timeout_s=settings.deadline_s / 2,
        say=_say,
    )
    for server in chat.pool.servers:
        server.open_wide()
    service = Service(settings=settings, chat=chat, token=token, files=files)
    listeners = [Listener("rewards", make_app(service), settings.host, settings.port, service)]
    if (wire := settings.trainer_wire) is not None:
        listeners.append(
            Listener("trainers' formats", make_wire(service), wire.host, wire.port, service)
        )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # They end the serving, not the process: a judge may have to be stopped.
        loop.add_signal_handler(number, lambda: [listener.end() for listener in listeners])
    settle()
    try:
        await gather_or_cancel([listener.serve() for listener in listeners])
    finally:
        await chat.pool.close()
    return 0


def settle() -> None:
    """Do before serving what would hold up the loop while it serves.

    All that stands now stays, so the search for cycles leaves it out: a full one took 40 ms and
    more. What a request makes outlives the usual thresholds while its judge thinks, and leaves no
    cycles.
    """
    code_version()  # Each answer tells it, and the first asks git.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)
    sys.setswitchinterval(_SWITCH_S)


class Listener(uvicorn.Server):
    """An app on an address: says where it listens, and finishes what is at work when it ends."""

    def __init__(self, name: str, app: FastAPI, host: str, port: int, service: Service) -> None:
        shutdown_s = round(service.settings.shutdown_s)
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=shutdown_s,
            limit_concurrency=_CONNECTIONS,
            # Who is local is for the socket to say, not for a header.
            proxy_headers=False,
        )
        super().__init__(config)
        self.name, self.service = name, service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        for listener in self.servers:
            for one in listener.sockets:
                host, port = one.getsockname()[:2]
                _say(f"{self.name} at http://{host}:{port}, mode {self.service.settings.mode}")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Whoever runs the listeners hears the signals."""
        yield

    def end(self) -> None:
        """Finish what is at work; told twice, do not."""
        self.force_exit = self.should_exit
        self.service.room.draining = self.should_exit = True


def _token(settings: RewardSettings) -> str | None:
    if settings.token_env is None:
        return None
    token = os.environ.get(settings.token_env, "").strip()
    if len(token) < 16:
        raise RecipeRefused(
            f"token_env: the variable {settings.token_env} holds no token of 16 characters or more"
        )
    return token


def _folder(settings: RewardSettings) -> str | None:
    if settings.files is None:
        return None
    if not Path(settings.files).is_dir():
        raise RecipeRefused(f"files: {settings.files} is no folder")
    return os.path.realpath(settings.files)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command's own output


def _fail(error: Exception, status: int) -> int:
    print(error, file=sys.stderr)  # noqa: T201 - a command's own output
    return status


if __name__ == "__main__":
    sys.exit(app())
