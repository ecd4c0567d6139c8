"""A training from its recipe to its result, whichever trainer of TRL it is."""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import PrinterCallback
from trl.trainer.callbacks import RichProgressCallback

from trainers.arguments import trainer_arguments
from trainers.logs import LogLines, PlainLines, cut_log
from trainers.models import load_model, load_processor, lora_config
from trainers.result import write_result
from trainers.rows import open_rows
from trainers.run_folder import begin, step_of
from trainers.scoring import ScoreCallback, rows_to_measure
from trainers.settings import SftRecipe
from trainers.stopping import StopOnSigterm


def train(recipe: SftRecipe, make_trainer: Callable[..., Any]) -> Path | None:
    """Train, from the last checkpoint if there is one. Returns the result's folder.

    None if SIGTERM ended it; the last checkpoint is then of that moment.
    Raises RecipeRefused, DatasetUnreadable, ExportRefused, OSError.
    """
    output = Path(recipe.output)
    rows = open_rows(recipe.data, score_only_share=recipe.score_only_share, seed=recipe.seed)
    processor = load_processor(recipe)
    checkpoint = begin(output, recipe, rows.facts)
    cut_log(output, -1 if checkpoint is None else step_of(checkpoint))
    measured = recipe.evaluation.rows > 0 and "validation" in rows.splits
    scores, validation = None, None
    if measured:
        validation = rows.splits["validation"]
        validation = validation.select(rows_to_measure(validation, recipe.evaluation.rows))
        scores = ScoreCallback(
            rows.opened,
            validation.with_format(None).to_list(),
            ways=_ways(recipe.score_only_share),
            settings=recipe.evaluation,
        )
    stop = StopOnSigterm()
    trainer = make_trainer(
        recipe,
        arguments=trainer_arguments(
            recipe, output, measured=measured, resumed=checkpoint is not None
        ),
        model=load_model(recipe),
        peft_config=lora_config(recipe),
        train_dataset=rows.splits["train"],
        eval_dataset=validation,
        processing_class=processor,
        callbacks=[LogLines(output), *([scores] if scores else []), stop],
    )
    if scores:
        scores.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(RichProgressCallback() if Console().is_terminal else PlainLines())
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if stop.stopped:
        return None
    measure = scores.measure if scores else None
    return write_result(trainer, recipe, output, rows.facts, measure=measure)


def _ways(score_only_share: float) -> list[bool]:
    """Whether to ask with reasoning (False), for the score alone (True) or both."""
    shares = {False: 1 - score_only_share, True: score_only_share}
    return [alone for alone, share in shares.items() if share > 0]
