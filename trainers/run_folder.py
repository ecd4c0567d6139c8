"""The folder of a run: what it was started with, where it goes on, and that it is the same run.

run.json       recipe, datasets, weights and code of the start
log.jsonl      what was measured, a line a report
checkpoints/   to go on from
model/         the result; `adapter/` instead where LoRA was trained
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pipelines.recipe_files import RecipeRefused, check_recipe
from pipelines.shards import write_json
from pipelines.version import code_version
from trainers.base_model import weights_digest
from trainers.settings import TrainingRecipe

# Another value of these learns the same; `data` is compared by content.
_FREE = {"output", "data", "workers", "save_every_steps", "keep_checkpoints"}
_FREE |= {"log_every_steps", "loggers", "evaluation"}
RESULTS = ("model", "adapter")


def result_of(output: Path) -> Path | None:
    """The result of a run that is finished."""
    return next((output / name for name in RESULTS if (output / name).is_dir()), None)


def begin(output: Path, recipe: TrainingRecipe, facts: list[dict[str, Any]]) -> Path | None:
    """Note what a run is started with. Returns the checkpoint that it goes on from, None for none.

    Raises RecipeRefused where a checkpoint is of another recipe, other rows or another model.
    """
    checkpoint = last_checkpoint(output)
    if checkpoint is not None:
        check_same(output, recipe, facts)
        return checkpoint
    value = {"recipe": recipe.model_dump(mode="json"), "data": facts, **code_version()}
    value["weights"] = weights_digest(recipe.model, recipe.revision)
    write_json(output / "run.json", value)
    return None


def last_checkpoint(output: Path) -> Path | None:
    """The last checkpoint that is whole: the trainer's state is the last that is written of one."""
    found = {
        int(match[1]): path
        for path in (output / "checkpoints").glob("checkpoint-*")
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and _has_state(path)
    }
    return found[max(found)] if found else None


def _has_state(checkpoint: Path) -> bool:
    """Whether the trainer's state is there and was not cut off."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return True


def is_final(checkpoint: Path) -> bool:
    """Whether nothing is left to train: the run was cut off while its result was written."""
    state = json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))
    return state["global_step"] >= state["max_steps"]


def checkpoint_after(output: Path, step: int) -> Path:
    """Where the checkpoint of a step stands."""
    return output / "checkpoints" / f"checkpoint-{step}"


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def began_with(output: Path) -> TrainingRecipe:
    """What all trainings have of the recipe that a run began with.

    Raises RecipeRefused, also where its model has other weights now.
    """
    began = _began(output)
    said = {name: began["recipe"].get(name) for name in TrainingRecipe.model_fields}
    known = {name: value for name, value in said.items() if name in began["recipe"]}
    recipe = check_recipe(known, TrainingRecipe, {}, where=str(output / "run.json"))
    _check_weights(output, recipe, began["weights"], "put them back")
    return recipe


def _began(output: Path) -> dict[str, Any]:
    try:
        began = json.loads((output / "run.json").read_text("utf-8"))
        rows = [fact["sha256"] for fact in began["data"]]
        return {"recipe": dict(began["recipe"]), "rows": rows, "weights": began.get("weights")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecipeRefused(f"{output / 'run.json'}: cannot be read ({error!r})") from error


def check_same(output: Path, recipe: TrainingRecipe, facts: list[dict[str, Any]]) -> None:
    """Raises RecipeRefused where a run began with another recipe, other rows or another model."""
    what_to_do = "set it back to go on, give another output, or remove this one"
    began = _began(output)
    for name, value in recipe.model_dump(mode="json").items():
        # A field that is younger than the run had no say in it: what its default does.
        was = began["recipe"].get(name, type(recipe).model_fields[name].get_default())
        if name not in _FREE and value != was:
            raise RecipeRefused(f"{output}: began with {name} {was}, now {value}; {what_to_do}")
    if [fact["sha256"] for fact in facts] != began["rows"]:
        raise RecipeRefused(f"{output}: began with other rows than data has now; {what_to_do}")
    _check_weights(output, recipe, began["weights"], what_to_do)


def _check_weights(
    output: Path, recipe: TrainingRecipe, began: str | None, what_to_do: str
) -> None:
    """What is gone, or was not told when the run began, cannot be compared."""
    now = weights_digest(recipe.model, recipe.revision)
    if now and began and now != began:
        raise RecipeRefused(
            f"{output}: began with other weights than model {recipe.model} has now; {what_to_do}"
        )
