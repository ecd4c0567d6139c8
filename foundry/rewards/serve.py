"""Serve rewards: `python -m foundry.rewards.serve --config reward.yaml`."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import uvloop
from cyclopts import App, Parameter

from foundry.rewards.listening import Listener, allow_many_files
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
    allow_many_files()
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
    apps = [("rewards", make_app(service), settings.host, settings.port)]
    if (wire := settings.trainer_wire) is not None:
        apps.append(("trainers' formats", make_wire(service), wire.host, wire.port))
    listeners = [Listener(*about, service, _say) for about in apps]

    def end(*_: object) -> None:
        for listener in listeners:
            listener.end()

    def end_at_once(*_: object) -> None:
        service.closing.set()
        end()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # They end the serving, not the process: a judge may have to be stopped.
        loop.add_signal_handler(number, end)
    judges_end = asyncio.ensure_future(service.judges.end())
    judges_end.add_done_callback(end_at_once)
    settle()
    try:
        await gather_or_cancel([listener.serve() for listener in listeners])
        if judges_end.done():
            raise judges_end.result()
    finally:
        judges_end.remove_done_callback(end_at_once)
        judges_end.cancel()
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
