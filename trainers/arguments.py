"""A recipe in the words of transformers' trainer, which TRL's trainers share."""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from pipelines.recipe_files import RecipeRefused
from trainers.models import precision
from trainers.settings import TrainingRecipe
from trainers.sharding import accelerator_settings

# More steps than any training has: measured before the first and after the last.
_NEVER = 10**12


def trainer_arguments(
    recipe: TrainingRecipe, output: Path, *, measured: bool, resumed: bool
) -> dict[str, Any]:
    """Arguments of a TRL config. `measured` says whether there is something to evaluate on.

    Raises RecipeRefused for a batch that the devices cannot share, or for a logger or an optimiser
    that is missing.
    """
    accumulated = shares(recipe, PartialState().num_processes)
    for name in recipe.loggers:
        if find_spec(name) is None:
            raise RecipeRefused(f"loggers: {name} is not installed; pip install {name}")
    if recipe.optimizer == "adamw_8bit" and find_spec("bitsandbytes") is None:
        raise RecipeRefused("optimizer adamw_8bit: pip install bitsandbytes, or take adamw")
    every = recipe.evaluation.every_steps or _NEVER
    return {
        "output_dir": str(output / "checkpoints"),
        "seed": recipe.seed,
        "per_device_train_batch_size": recipe.device_batch,
        "per_device_eval_batch_size": recipe.device_batch,
        "gradient_accumulation_steps": accumulated,
        "num_train_epochs": recipe.epochs,
        "max_steps": recipe.steps or -1,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.schedule,
        "warmup_steps": recipe.warm_up,
        "optim": {"adamw": "adamw_torch_fused"}.get(recipe.optimizer, recipe.optimizer),
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "bf16": precision(recipe) == "bfloat16",
        "use_cpu": not torch.cuda.is_available(),
        "accelerator_config": accelerator_settings(),
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "dataloader_num_workers": recipe.workers,
        # The collator needs the pictures and row ids.
        "remove_unused_columns": False,
        # Cut rows would lose their score, which comes last.
        "max_length": None,
        "eval_strategy": "steps" if measured else "no",
        "eval_steps": every,
        "eval_on_start": measured and not resumed,
        "save_strategy": "steps",
        "save_steps": recipe.save_every_steps,
        "save_total_limit": recipe.keep_checkpoints,
        "logging_steps": recipe.log_every_steps,
        "report_to": list(recipe.loggers),
        "disable_tqdm": True,
    }


def shares(recipe: TrainingRecipe, devices: int) -> int:
    """How often so many devices compute rows for one step. Raises RecipeRefused if unevenly."""
    at_once = recipe.device_batch * devices
    if recipe.batch % at_once:
        raise RecipeRefused(
            f"batch {recipe.batch} is not a multiple of the {at_once} rows that all devices "
            "compute at once (device_batch times devices)"
        )
    return recipe.batch // at_once
