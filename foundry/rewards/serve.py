"""Serve rewards: `python -m foundry.rewards.serve --config reward.yaml`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import uvicorn
from cyclopts import App, Parameter

from foundry.rewards.service import Service, make_app
from foundry.rewards.settings import RewardSettings
from pipelines.build import BuildRefused
from pipelines.chat import EndpointDown
from pipelines.connecting import Servers, connect
from pipelines.launch import LaunchFailed
from pipelines.probe import EndpointUnfit
from pipelines.recipe_files import RecipeRefused, load_recipe, parse_settings

app = App(name="python -m foundry.rewards.serve", help_flags=["--help", "-h"], version_flags=[])
# For a source and an edited picture.
_PICTURES = 2
# While the first judge starts, and when it does not answer: a deadline comes before it.
_OUTAGE_S = 900.0


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
        return asyncio.run(_serve(checked, token, files, servers))
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
        outage_timeout_s=_OUTAGE_S,
        say=_say,
    )
    service = Service(settings=settings, chat=chat, token=token, files=files)
    server = Draining(
        uvicorn.Config(
            make_app(service),
            host=settings.host,
            port=settings.port,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=round(settings.shutdown_s),
        ),
        service,
    )
    try:
        await server.serve()
    finally:
        await chat.pool.close()
    return 0


class Draining(uvicorn.Server):
    """Says where it listens, and takes nothing new once it is told to end."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        for listener in self.servers:
            for one in listener.sockets:
                host, port = one.getsockname()[:2]
                _say(f"rewards at http://{host}:{port}, mode {self.service.settings.mode}")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the serving, not the process: a judge may have to be stopped."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def end(self) -> None:
        """Finish what is at work; told twice, do not."""
        self.force_exit = self.should_exit
        self.service.draining = self.should_exit = True


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
