"""Flow `build-firm-edit`: report what differs in each pair, then score every edit on two axes.

`python -m flows.build_firm_edit recipe.yaml` runs it here; see `flows.serve` for the deployment.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from prefect import State, flow

from flows.command_line import print_funnel, run_in_foreground
from flows.run import run_build
from flows.work import run_flow, shard_threads
from pipelines.recipe import EditRecipe


@flow(
    name="build-firm-edit",
    task_runner=shard_threads(),
    persist_result=False,
    validate_parameters=True,
)
def build_firm_edit(
    recipe: EditRecipe, overrides: dict[str, Any] | None = None
) -> dict[str, Any] | State:
    """Make or go on with a build.

    `overrides` sets single fields of the recipe by dotted name, such as `gen_scores.votes`.
    Returns the build's manifest, or a failed state whose message says what to do.
    """
    return run_flow(recipe, overrides, run_build)


app = App(name="python -m flows.build_firm_edit", help_flags=["--help", "-h"], version_flags=[])


@app.default
def main(
    recipe: Path,
    *,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"])] = (),
) -> int:
    """Run build-firm-edit in the foreground.

    Parameters
    ----------
    recipe
        The recipe, a YAML file.
    settings
        A field to set over the recipe, such as `--set output=builds/other`; may be repeated.

    """
    return run_in_foreground(build_firm_edit, recipe, EditRecipe, settings, print_funnel)


if __name__ == "__main__":
    sys.exit(app())
