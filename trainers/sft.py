r"""Supervised fine-tuning of a reward model on a finished build or a published dataset.

    python -m trainers.sft --config trainers/recipes/joint_8b_lora_80gb.yaml \
        --set data=builds/my-edits --set output=models/my-judge

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
from trainers.settings import SftRecipe

app = App(name="python -m trainers.sft", help_flags=["--help", "-h"], version_flags=[])


def open_data(recipe: SftRecipe) -> Any:
    """All rows of the recipe's datasets. Raises DatasetUnreadable, ExportRefused."""
    from trainers.rows import open_rows

    return open_rows(
        recipe.data,
        score_only_share=recipe.score_only_share,
        seed=recipe.seed,
        evidence=recipe.evidence,
    )


def make_trainer(recipe: SftRecipe, **common: Any) -> Any:
    """TRL's SFTTrainer, its loss on the replies alone."""
    from trl import SFTConfig, SFTTrainer

    arguments = common.pop("arguments")
    trainer = SFTTrainer(
        args=SFTConfig(**arguments, completion_only_loss=True),
        data_collator=make_collator(common["processing_class"]),
        **common,
    )
    # Every token of a step counts the same, however its rows are shared out. The class of the model
    # denies that its loss can; the loss that TRL takes in its place can.
    trainer.model_accepts_loss_kwargs = True
    return trainer


def make_collator(processor: Any) -> Any:
    """From examples to a batch whose labels are the replies and their ends."""
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    from trainers.collation import CheckedCollator

    inner = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)
    return CheckedCollator(inner, processor)


@app.default
def main(
    *,
    config: Path,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative="")] = (),
    plan: Annotated[bool, Parameter(negative="")] = False,
    devices: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 1,
) -> int:
    """Fine-tune a model on a dataset's conversations.

    Parameters
    ----------
    config
        The recipe, a YAML file, such as one of trainers/recipes.
    settings
        A field to set over the recipe, such as `--set learning_rate=2e-5`; may be repeated.
    plan
        Only tell what the training will need: memory a device, tokens, steps, hours. No GPU needed.
    devices
        With `--plan`: the number of GPUs that share the work.

    """
    return run_trainer(
        config,
        SftRecipe,
        settings,
        open_data=open_data,
        make_trainer=make_trainer,
        make_collator=make_collator,
        plan_for=devices if plan else None,
    )


if __name__ == "__main__":
    sys.exit(app())
