"""A run of several processes, and weights that these share out among themselves (FSDP).

Whether they do is for the config of `accelerate launch` to say; some are in `trainers/launch`.
"""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as distributed_checkpoint
from accelerate import Accelerator, DistributedType, FullyShardedDataParallelPlugin, PartialState
from accelerate.utils import fsdp2_prepare_model
from accelerate.utils.constants import FSDP_MODEL_NAME
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy

from pipelines.recipe_files import RecipeRefused
from trainers.models import precision
from trainers.settings import TrainingRecipe

# How long the others wait for one process: while it writes, reads or measures.
_PATIENCE = timedelta(hours=1)


def is_sharded() -> bool:
    """Whether the launcher asked for weights that the processes share out."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def start_processes(recipe: TrainingRecipe) -> None:
    """Let the processes of a run know each other, before any of them asks which one it is.

    Raises RecipeRefused for what cannot be trained with weights that are shared out.
    """
    place = PartialState(cpu=not torch.cuda.is_available(), timeout=_PATIENCE)
    if not is_sharded():
        return
    if os.environ.get("FSDP_VERSION") != "2":
        raise RecipeRefused("FSDP is of version 1 here; set fsdp_version: 2 in accelerate's config")
    if recipe.lora:
        raise RecipeRefused(
            "lora: weights that stay as they are need no FSDP; on several GPUs start it with "
            "torchrun --nproc-per-node"
        )
    if place.distributed_type == DistributedType.MULTI_CPU:
        # accelerate shards on GPUs alone and says nothing on a CPU; FSDP itself runs there too.
        place.distributed_type = DistributedType.MULTI_GPU
    low = precision(recipe) == "bfloat16"
    # accelerate's own policy would add gradients up, and return the loss, in bfloat16.
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    plugin = FullyShardedDataParallelPlugin(mixed_precision_policy=policy if low else None)
    # The state of this first one is that of all that come after it.
    Accelerator(mixed_precision="bf16" if low else "no", fsdp_plugin=plugin)


def accelerator_settings() -> dict[str, Any]:
    """What the trainer must know of it: its `accelerator_config`."""
    if not is_sharded():
        return {"use_configured_state": True}
    # Without it every device would hold the gradients of all weights between two steps.
    accumulation = {"sync_each_batch": True}
    return {"use_configured_state": True, "gradient_accumulation_kwargs": accumulation}


def share_out(model: Any) -> Any:
    """A model that is not trained, shared out like the one that is; as it was without FSDP."""
    return fsdp2_prepare_model(Accelerator(), model) if is_sharded() else model


@contextmanager
def whole(model: Any) -> Iterator[None]:
    """Every process holds all weights, in the precision of the computation, as long as it lasts.

    Replies may then be of any length in each of them; token by token, weights that are shared out
    would have to be gathered again for every token.
    """
    if not isinstance(model, FSDPModule):
        yield
        return
    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    again = Accelerator().state.fsdp_plugin.reshard_after_forward
    model.set_reshard_after_forward(False)
    for part in parts:
        part.unshard()
    try:
        yield
    finally:
        model.set_reshard_after_forward(again)
        # As accelerate has it: what a step uses last and first stays between the two.
        for part in (model, model.get_output_embeddings()):
            part.set_reshard_after_forward(False, recurse=False)
        for part in parts:
            part.reshard()


def shards_of(checkpoint: Path) -> Path | None:
    """Where a checkpoint has weights that were shared out; None for whole ones."""
    folder = checkpoint / f"{FSDP_MODEL_NAME}_0"
    return folder if folder.is_dir() else None


def check_checkpoint(checkpoint: Path) -> None:
    """Raises RecipeRefused where a run cannot go on as it was launched now."""
    if (shards_of(checkpoint) is not None) != is_sharded():
        began = "without" if is_sharded() else "with"
        raise RecipeRefused(f"{checkpoint}: the run began {began} FSDP; start it as it began")


def load_shards(model: Any, folder: Path) -> None:
    """Put trained weights into a whole model, in the types that its own weights have."""
    state = {"model": model.state_dict()}
    with warnings.catch_warnings():
        # One process reads all, as it warns.
        warnings.simplefilter("ignore", UserWarning)
        distributed_checkpoint.load(state, checkpoint_id=folder, no_dist=True)
