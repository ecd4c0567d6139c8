"""What a training will need, told before it is begun and without a GPU: `--plan`."""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from trainers.arguments import shares
from trainers.estimates import (
    BFLOAT16,
    FLOAT32,
    Batch,
    How,
    Part,
    Shape,
    frozen_bytes,
    memory,
    model_flops,
)
from trainers.models import LORA_TARGETS, VISION
from trainers.rows import TrainingRows
from trainers.settings import DpoRecipe, TrainingRecipe

# Rows whose length is looked at, evenly over the split.
_LOOKED_AT = 64
# Dense bfloat16 operations a second of an H100 SXM or H200 (NVIDIA's data sheets), and the share of
# them that bench/train_8b.py measured.
PEAK, _USED = 989e12, 0.18


def shape_of(recipe: TrainingRecipe) -> Shape:
    """The model in numbers, from its configuration; no weights are read. Raises OSError."""
    config = AutoConfig.from_pretrained(recipe.model, revision=recipe.revision)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    text, seen = config.text_config, config.vision_config
    whole = recipe.lora is None
    decoder = model.get_decoder()
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head.weight is embedding.weight or config.tie_word_embeddings
    visual = next(m for name, m in model.named_modules() if name.endswith(VISION))
    return Shape(
        embedding=_part([embedding], whole),
        head=_part([] if tied else [head], whole),
        layers=_part([decoder.layers, decoder.norm], whole),
        vision=_part([visual], whole and not recipe.freeze_vision),
        adapters=recipe.lora.rank * _lora_widths(model) if recipe.lora else 0,
        n_layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        feed_forward=text.intermediate_size,
        queries=text.num_attention_heads * text.head_dim,
        keys=text.num_key_value_heads * text.head_dim,
        vocabulary=text.vocab_size,
        n_vision_layers=seen.depth,
        vision_hidden=seen.hidden_size,
        vision_feed_forward=seen.intermediate_size,
        mergers=_part([m for n, m in visual.named_modules() if _is_merger(n)], False).matrices,
    )


def _is_merger(name: str) -> bool:
    return name == "merger" or (name.startswith("deepstack_merger_list.") and name.count(".") == 1)


def _part(modules: Sequence[torch.nn.Module], trained: bool) -> Part:
    inner = [m for module in modules for m in module.modules()]
    return Part(
        parameters=sum(p.numel() for module in modules for p in module.parameters()),
        matrices=sum(m.weight.numel() for m in inner if isinstance(m, torch.nn.Linear)),
        trained=trained,
    )


def _lora_widths(model: torch.nn.Module) -> int:
    """Parameters of LoRA a rank: the widths of every layer that it stands beside."""
    return sum(
        m.in_features + m.out_features
        for name, m in model.named_modules()
        if isinstance(m, torch.nn.Linear) and re.fullmatch(LORA_TARGETS, name)
    )


def batches(rows: TrainingRows, collator: Callable[[Sequence[Any]], Any]) -> list[Batch]:
    """What single rows of the training split become, some of them evenly over it."""
    split = rows.splits["train"]
    n = min(len(split), _LOOKED_AT)
    return [batch_of(collator([split[i * len(split) // n]])) for i in range(n)]


def batch_of(batch: Any) -> Batch:
    """The numbers of a collated batch."""
    sequences, length = batch["input_ids"].shape
    loss = batch["labels"] != -100 if "labels" in batch else batch["completion_mask"]
    pictures = batch["image_grid_thw"].prod(dim=1)
    return Batch(
        sequences=sequences,
        length=length,
        patches=int(pictures.sum()),
        longest_picture=int(pictures.max()),
        replies=int(loss.sum()),
    )


def plan_lines(
    recipe: TrainingRecipe,
    rows: TrainingRows,
    collator: Callable[[Sequence[Any]], Any],
    *,
    devices: int,
) -> list[str]:
    """The plan in lines for a person: rows, tokens, steps, memory a device and operations.

    Raises RecipeRefused for a batch that the devices cannot share.
    """
    shares(recipe, devices)
    shape, found = shape_of(recipe), batches(rows, collator)
    n = len(rows.splits["train"])
    # As the trainer has them: an epoch ends with a step, full or not.
    steps = recipe.steps or math.ceil(recipe.epochs * math.ceil(n / recipe.batch))
    mean = sum(batch.tokens for batch in found) / len(found)
    needs = memory(shape, widest(found, recipe.device_batch), how(recipe, devices))
    lines = [
        f"model     {sum(p.parameters for p in shape.parts) / 1e9:.3g} B parameters, "
        f"{shape.trained / 1e9:.3g} B learn",
        f"rows      {n:,}, {mean:,.0f} tokens each on average, at most "
        f"{max(batch.length for batch in found):,} ({len(found)} looked at)",
        f"steps     {steps:,} of {recipe.batch} rows, {mean * recipe.batch:,.0f} tokens each",
        f"memory    {needs['peak'] / 1e9:.1f} GB a device of {devices}, "
        f"{recipe.device_batch} rows at once",
    ]
    parts = [(name, size) for name, size in needs.items() if name != "peak"]
    lines += [f"  {name:<12}{size / 1e9:7.1f}" for name, size in parts if size]
    dpo = isinstance(recipe, DpoRecipe)
    operations = sum(model_flops(shape, b, reference=dpo) for b in found) / len(found)
    hours = operations * recipe.batch * steps / (PEAK * _USED * devices) / 3600
    lines.append(
        f"time      {hours:,.1f} h on {devices} H100 or H200, if {_USED:.0%} of their "
        f"{PEAK / 1e12:.0f} TFLOP/s are used; measuring and saving come on top"
    )
    return lines


def widest(found: Sequence[Batch], rows: int) -> Batch:
    """So many rows at once, all as long as the longest and with its pictures."""
    longest = max(found, key=lambda batch: (batch.length, batch.patches))
    return Batch(
        sequences=longest.sequences * rows,
        length=longest.length,
        patches=longest.patches * rows,
        longest_picture=longest.longest_picture,
        replies=max(batch.replies for batch in found) * rows,
    )


def how(recipe: TrainingRecipe, devices: int) -> How:
    """What of a recipe decides about memory; in bfloat16 unless it says otherwise."""
    compute = FLOAT32 if recipe.precision == "float32" else BFLOAT16
    four_bit = recipe.lora is not None and recipe.lora.four_bit
    return How(
        # LoRA is not shared out: each device holds all.
        devices=1 if recipe.lora else devices,
        compute=compute,
        # TRL gives LoRA beside 4 bits the type of the computation.
        adapter=BFLOAT16 if four_bit else FLOAT32,
        frozen=frozen_bytes(four_bit=four_bit, compute=compute, lora=recipe.lora is not None),
        moments_of_8_bits=recipe.optimizer == "adamw_8bit",
        checkpointing=recipe.gradient_checkpointing,
        accumulates=recipe.batch > recipe.device_batch * devices,
        reference=isinstance(recipe, DpoRecipe) and recipe.lora is None,
    )
