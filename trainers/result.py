"""The result of a training: weights, processor and card, whole or not there."""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from accelerate import PartialState
from safetensors import safe_open
from transformers import AutoModelForImageTextToText

from pipelines.shards import sync_folder, sync_tree
from trainers.base_model import weights_folder
from trainers.card import model_card
from trainers.models import load_processor, written_dtype
from trainers.run_folder import step_of
from trainers.run_log import LOG, RESULT, read_log, write_line
from trainers.scoring import ScoreCallback
from trainers.settings import TrainingRecipe
from trainers.sharding import load_shards, shards_of


def write_result(
    checkpoint: Path,
    recipe: TrainingRecipe,
    output: Path,
    facts: list[dict[str, Any]],
    *,
    scores: ScoreCallback | None,
) -> Path:
    """Write `model/`, or `adapter/` for LoRA, as vLLM loads it. Returns its folder.

    It is made of the last checkpoint. Weights get the type that those of the model before training
    have, and what was written is measured once more, in the log's last line: its scores, and how
    much of it differs from the model before training, where that is still at hand.
    """
    part, place = output / ".result.part", output / ("adapter" if recipe.lora else "model")
    # What follows is for one process alone.
    PartialState().destroy_process_group()
    if not PartialState().is_main_process:
        return place
    shutil.rmtree(part, ignore_errors=True)
    processor = load_processor(recipe)
    processor.save_pretrained(part)
    if recipe.lora:
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            shutil.copy(checkpoint / name, part / name)
    else:
        model = _trained_model(checkpoint, recipe)
        model.save_pretrained(part)
        share = changed_share(weights_folder(recipe.model, recipe.revision), part)
        found = {} if share is None else {"changed_share": share}
        if scores is not None:
            found |= scores.measure(model.to(PartialState().device), processor, shared=False)
        values = {f"{RESULT}{name}": value for name, value in found.items()}
        if values:
            write_line(output / LOG, step_of(checkpoint), values)
    (part / "README.md").write_text(model_card(recipe, facts, read_log(output)), "utf-8")
    put_in_place(part, place)
    return place


def _trained_model(checkpoint: Path, recipe: TrainingRecipe) -> Any:
    """The model of a checkpoint, in the type that it is published in."""
    shards = shards_of(checkpoint)
    if shards is None:
        return AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=written_dtype(recipe))
    model = AutoModelForImageTextToText.from_pretrained(
        recipe.model, revision=recipe.revision, dtype=written_dtype(recipe)
    )
    load_shards(model, shards)
    return model


def changed_share(before: Path | None, after: Path) -> float | None:
    """Share of the weights in `after` that differ from those of the same name in `before`, 0 to 1.

    Both are folders of safetensors files, read a tensor at a time. Small changes are lost where
    weights are rounded to the type that they are written in. None where no names are the same.
    """
    old, new = (_tensors(before) if before else {}), _tensors(after)
    changed = total = 0
    for name in old.keys() & new.keys():
        was, now = old[name].get_tensor(name), new[name].get_tensor(name)
        if was.shape == now.shape:
            changed += int((now != was.to(now.dtype)).sum())
            total += now.numel()
    return changed / total if total else None


def _tensors(folder: Path) -> dict[str, Any]:
    """The open file of each tensor of a folder, by the tensor's name."""
    files = [safe_open(path, "pt") for path in sorted(folder.glob("*.safetensors"))]
    return {name: file for file in files for name in file.keys()}  # noqa: SIM118 - no mapping


def put_in_place(part: Path, place: Path) -> None:
    """Give a finished folder its name, when all of it is on disk."""
    for path in part.iterdir():
        path.chmod(0o644)  # safetensors writes files that their owner alone may read
    sync_tree(part)
    os.rename(part, place)
    sync_folder(place.parent)
