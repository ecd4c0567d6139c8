"""The model that learns, and what of it: all weights, all but the vision encoder, or LoRA."""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

from typing import Any

import torch
from accelerate import PartialState
from peft import LoraConfig
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    BitsAndBytesConfig,
)
from transformers.utils import is_flash_attn_2_available

from foundry.patches import embed_patches_by_product
from pipelines.hardware import cpu_has_bfloat16
from pipelines.recipe_files import RecipeRefused
from trainers.settings import TrainingRecipe

# The vision encoder's layers have other names, and are left as they are.
LORA_TARGETS = r".*language_model.*_proj"
VISION = "visual"


def load_processor(recipe: TrainingRecipe) -> Any:
    """The model's processor. Raises RecipeRefused where there is none, or none for pictures."""
    try:
        processor = AutoProcessor.from_pretrained(recipe.model, revision=recipe.revision)
    except (OSError, ValueError) as error:
        raise RecipeRefused(f"model {recipe.model}: {_first_line(error)}") from error
    if not hasattr(processor, "image_processor"):
        raise RecipeRefused(f"model {recipe.model}: it takes no pictures; name another")
    return processor


def load_model(recipe: TrainingRecipe) -> Any:
    """The model as it is before training, with what stays as it is frozen.

    Weights that are trained are float32, whatever the precision of the computation; those beside
    which LoRA is trained are of that precision.
    Raises RecipeRefused.
    """
    computed = getattr(torch, precision(recipe))
    options: dict[str, Any] = {"dtype": computed if recipe.lora else torch.float32}
    if recipe.lora and recipe.lora.four_bit:
        options["device_map"] = {"": PartialState().device}
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=computed,
            llm_int8_skip_modules=[VISION, "lm_head"],
        )
    try:
        model = AutoModelForImageTextToText.from_pretrained(
            recipe.model,
            revision=recipe.revision,
            attn_implementation=recipe.attention or _best_attention(computed),
            **options,
        )
    except (OSError, ValueError, ImportError) as error:
        raise RecipeRefused(f"model {recipe.model}: {_first_line(error)}") from error
    embed_patches_by_product(model)
    if recipe.freeze_vision:
        _freeze_vision(model)
    return model


def lora_config(recipe: TrainingRecipe) -> LoraConfig | None:
    """What peft puts beside the linear layers of the language model; None for all weights."""
    if recipe.lora is None:
        return None
    return LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=LORA_TARGETS,
        task_type="CAUSAL_LM",
    )


def precision(recipe: TrainingRecipe) -> str:
    """What to compute in: the recipe's choice, else bfloat16 where the hardware has it."""
    if recipe.precision:
        return recipe.precision
    has = torch.cuda.is_bf16_supported() if torch.cuda.is_available() else cpu_has_bfloat16()
    return "bfloat16" if has else "float32"


def written_dtype(recipe: TrainingRecipe) -> torch.dtype:
    """The type that the weights are published in: that of the model before training."""
    dtype = AutoConfig.from_pretrained(recipe.model, revision=recipe.revision).dtype
    return dtype if isinstance(dtype, torch.dtype) else torch.bfloat16


def _best_attention(computed: torch.dtype) -> str:
    # Flash attention has no float32.
    fast = computed == torch.bfloat16 and torch.cuda.is_available() and is_flash_attn_2_available()
    return "flash_attention_2" if fast else "sdpa"


def _freeze_vision(model: Any) -> None:
    frozen = [p for name, p in model.named_parameters() if VISION in name.split(".")]
    if not frozen:
        raise RecipeRefused(f"freeze_vision: the model has no part called '{VISION}'")
    for parameter in frozen:
        parameter.requires_grad_(False)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
