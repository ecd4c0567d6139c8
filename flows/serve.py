"""Serve the flows as deployments named `local`: `python -m flows.serve`.

The parameters of builds default to the demo's recipes; `--gen`, `--edit` and `--preferences` name
others.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from cyclopts import App
from prefect import serve

from flows.build_firm_edit import build_firm_edit
from flows.build_firm_gen import build_firm_gen
from flows.build_firm_preferences import build_firm_preferences
from flows.publish_dataset import publish_dataset
from pipelines.preferences.recipe import PreferenceRecipe
from pipelines.recipe import EditRecipe, GenRecipe
from pipelines.recipe_files import RecipeRefused, load_recipe

DEMO = Path("examples/demo")
app = App(name="python -m flows.serve", help_flags=["--help", "-h"], version_flags=[])


@app.default
def main(
    *,
    gen: Path = DEMO / "gen.yaml",
    edit: Path = DEMO / "edit.yaml",
    preferences: Path = DEMO / "preferences.yaml",
) -> int:
    """Serve the flows, each /local, until interrupted.

    Parameters
    ----------
    gen
        Recipe that build-firm-gen/local runs with when a run gives none.
    edit
        The same for build-firm-edit/local.
    preferences
        The same for build-firm-preferences/local.

    """
    try:
        recipes = (
            load_recipe(gen, GenRecipe),
            load_recipe(edit, EditRecipe),
            load_recipe(preferences, PreferenceRecipe),
        )
    except RecipeRefused as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's own output
        return 2
    flows: Any = (build_firm_gen, build_firm_edit, build_firm_preferences)
    publishing: Any = publish_dataset
    serve(
        *(
            flow.to_deployment(
                name="local",
                parameters={"recipe": recipe.model_dump(mode="json", exclude_unset=True)},
            )
            for flow, recipe in zip(flows, recipes, strict=True)
        ),
        publishing.to_deployment(name="local"),
    )
    return 0


if __name__ == "__main__":
    sys.exit(app())
