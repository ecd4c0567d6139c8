"""Merge a trained LoRA adapter into the model that it was trained beside.

    python -m trainers.merge models/my-judge

Writes `model/` beside the run's `adapter/`, as a training of all weights would have.
"""

# peft and transformers live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from cyclopts import App

from pipelines.build import BuildRefused, locked_build
from pipelines.recipe_files import RecipeRefused
from trainers.run_folder import began_with

app = App(name="python -m trainers.merge", help_flags=["--help", "-h"], version_flags=[])


def merge(output: Path) -> Path:
    """Write `model/` of a run that trained LoRA. Returns its folder.

    The sum is made in float32 and then given the type of the model before training.
    Raises RecipeRefused where no run began, OSError for a model that is not there.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    from trainers.models import load_processor, written_dtype
    from trainers.result import put_in_place

    recipe = began_with(output)
    place, part = output / "model", output / ".result.part"
    base = AutoModelForImageTextToText.from_pretrained(
        recipe.model, revision=recipe.revision, dtype=torch.float32
    )
    merged = PeftModel.from_pretrained(base, str(output / "adapter")).merge_and_unload()
    shutil.rmtree(part, ignore_errors=True)
    merged.to(written_dtype(recipe)).save_pretrained(part)
    load_processor(recipe).save_pretrained(part)
    card = (output / "adapter" / "README.md").read_text("utf-8")
    card = card.replace("library_name: peft", "library_name: transformers", 1)
    (part / "README.md").write_text(card, "utf-8")
    put_in_place(part, place)
    return place


@app.default
def main(output: Path) -> int:
    """Merge the adapter of a finished training.

    Parameters
    ----------
    output
        The folder of the run.

    """
    try:
        if not (output / "adapter").is_dir():
            raise RecipeRefused(f"{output}: no adapter/ here; name the folder of a LoRA training")
        if (output / "model").is_dir():
            raise RecipeRefused(f"{output / 'model'}: is there already; remove it to merge again")
        if find_spec("peft") is None:
            raise RecipeRefused("peft is not installed here: run it with .venv-train/bin/python")
        with locked_build(output):
            place = merge(output)
    except (RecipeRefused, BuildRefused, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's own output
        return 2
    print(f"{place}: the merged model and its card")  # noqa: T201 - a command's own output
    return 0


if __name__ == "__main__":
    sys.exit(app())
