r"""Direct preference optimisation of a fine-tuned reward model on pairs of its own replies.

    python -m trainers.dpo --config trainers/recipes/joint_8b_dpo.yaml \
        --set model=models/my-judge/model --set data=builds/my-preferences \
        --set output=models/my-dpo

The same command goes on after a break.
"""

# TRL lives in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter, validators

from trainers.command_line import run_trainer
from trainers.settings import DpoRecipe

app = App(name="python -m trainers.dpo", help_flags=["--help", "-h"], version_flags=[])


def open_data(recipe: DpoRecipe) -> Any:
    """All pairs of the recipe's datasets. Raises DatasetUnreadable."""
    from trainers.pairs import open_pairs

    return open_pairs(recipe.data)


def make_trainer(recipe: DpoRecipe, **common: Any) -> Any:
    """TRL's DPOTrainer; what it must not stray from is the model before training."""
    from trl import DPOConfig, DPOTrainer

    from trainers.models import load_model
    from trainers.sharding import share_out

    arguments = common.pop("arguments")
    return DPOTrainer(
        args=DPOConfig(**arguments, beta=recipe.beta),
        # With LoRA the model before training is the one without the adapter.
        ref_model=None if recipe.lora else share_out(load_model(recipe).requires_grad_(False)),
        data_collator=make_collator(common["processing_class"]),
        **common,
    )


def make_collator(processor: Any) -> Any:
    """From pairs to a batch: all with their chosen replies, then all with the rejected ones."""
    from trl.trainer.dpo_trainer import DataCollatorForVisionPreference

    from trainers.collation import CheckedCollator

    return CheckedCollator(DataCollatorForVisionPreference(processor), processor)


@app.default
def main(
    *,
    config: Path,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative="")] = (),
    plan: Annotated[bool, Parameter(negative="")] = False,
    devices: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 1,
) -> int:
    """Train a model to prefer the chosen replies of pairs.

    Parameters
    ----------
    config
        The recipe, a YAML file, such as one of trainers/recipes.
    settings
        A field to set over the recipe, such as `--set beta=0.2`; may be repeated.
    plan
        Only tell what the training will need: memory a device, tokens, steps, hours. No GPU needed.
    devices
        With `--plan`: the number of GPUs that share the work.

    """
    return run_trainer(
        config,
        DpoRecipe,
        settings,
        open_data=open_data,
        make_trainer=make_trainer,
        make_collator=make_collator,
        plan_for=devices if plan else None,
    )


if __name__ == "__main__":
    sys.exit(app())
