"""What the commands of all trainers do around training: check, lock, go on, end."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from pipelines.build import BuildRefused, locked_build
from pipelines.dataset_reading import DatasetUnreadable
from pipelines.export.conversations import ExportRefused
from pipelines.recipe_files import RecipeRefused, load_recipe, parse_settings
from trainers.collation import PictureTokensWrong
from trainers.run_folder import check_same, result_of
from trainers.settings import TrainingRecipe

R = TypeVar("R", bound=TrainingRecipe)
# What a shell reports of a process that SIGTERM ended: whoever asked for it sees it in the status.
STOPPED = 143


def run_trainer(
    path: Path,
    model: type[R],
    settings: Sequence[str],
    *,
    open_data: Callable[[R], Any],
    make_trainer: Callable[..., Any],
    make_collator: Callable[[Any], Any],
    plan_for: int | None,
) -> int:
    """Train as a recipe says. Returns the exit status: 0, 1 for data, 2 for a recipe, 143 stopped.

    `open_data` gives the rows that a recipe names, `make_trainer` a trainer of TRL from the recipe
    and the arguments that all of them take. With `plan_for` so many devices it is told what the
    training will need, and nothing else is done.
    """
    try:
        recipe = load_recipe(path, model, parse_settings(settings))
        if find_spec("trl") is None:
            raise RecipeRefused(
                "TRL is not installed here: make train, then .venv-train/bin/python"
            )
        if plan_for is not None:
            return _tell_plan(recipe, open_data(recipe), make_collator, plan_for)
        output = Path(recipe.output)
        # Of several processes of a run, started by a launcher, the first holds the lock.
        first = int(os.environ.get("RANK", "0")) == 0
        with locked_build(output) if first else nullcontext():
            if (done := result_of(output)) is not None:
                check_same(output, recipe, open_data(recipe).facts)
                _say(f"{done}: this training is finished; give another output for a new one")
                return 0
            from trainers.training import train

            result = train(recipe, open_data=open_data, make_trainer=make_trainer)
    except RecipeRefused as error:
        return _fail(error, 2)
    except (DatasetUnreadable, ExportRefused, PictureTokensWrong, BuildRefused, OSError) as error:
        return _fail(error, 1)
    if result is None:
        kept = f"{output}/checkpoints"
        _say(f"stopped by SIGTERM, with a checkpoint in {kept}; the same command goes on")
        return _leave(STOPPED)
    _say(f"{result}: the model and its card")
    return _leave(0)


def _tell_plan(
    recipe: TrainingRecipe, rows: Any, make_collator: Callable[[Any], Any], devices: int
) -> int:
    from trainers.models import load_processor
    from trainers.planning import plan_lines

    collator = make_collator(load_processor(recipe))
    for line in plan_lines(recipe, rows, collator, devices=devices):
        _say(line)
    return 0


def _leave(status: int) -> int:
    """End one of several processes here, its exit functions done.

    At the interpreter's own end a thread of gloo that still runs may abort the process, after its
    work is done: the launcher then reports a failure.
    """
    if "RANK" in os.environ:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _say(text: str) -> None:
    if int(os.environ.get("RANK", "0")) == 0:
        print(text, flush=True)  # noqa: T201 - a command's own output


def _fail(error: Exception, status: int) -> int:
    # A data loader's worker sends its error inside a trace, the error itself last.
    line = str(error).strip().splitlines()[-1] if "Traceback" in str(error) else error
    print(line, file=sys.stderr)  # noqa: T201 - a command's own output
    return status
