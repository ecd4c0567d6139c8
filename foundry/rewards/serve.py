"""Serve rewards: `python -m foundry.rewards.serve --config reward.yaml`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import uvloop
from cyclopts import App, Parameter

from foundry.rewards.listening import allow_many_files
from foundry.rewards.serving import Serving, serve
from foundry.rewards.settings import RewardSettings
from foundry.rewards.workers import run_workers
from pipelines.build import BuildRefused
from pipelines.chat import EndpointDown
from pipelines.connecting import Servers
from pipelines.launch import LaunchFailed
from pipelines.probe import EndpointUnfit
from pipelines.recipe_files import RecipeRefused, load_recipe, parse_settings

app = App(name="python -m foundry.rewards.serve", help_flags=["--help", "-h"], version_flags=[])


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
    serving, servers = Serving(settings=checked, token=token, files=files, say=_say), Servers()
    allow_many_files()
    try:
        if checked.workers > 1:
            run_workers(serving, servers)
        else:
            uvloop.run(serve(serving, servers))
        return 0
    except (LaunchFailed, EndpointUnfit, EndpointDown, BuildRefused, OSError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return 130
    finally:
        servers.close()


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
