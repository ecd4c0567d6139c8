"""A training from its recipe to its result, whichever trainer of TRL it is."""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from accelerate import PartialState
from rich.console import Console
from transformers import PrinterCallback
from transformers.utils.logging import disable_progress_bar
from trl.trainer.callbacks import RichProgressCallback

from trainers.arguments import trainer_arguments
from trainers.callbacks import Intervals, LogLines, PlainLines, Speed
from trainers.models import load_model, load_processor, lora_config
from trainers.result import write_result
from trainers.rows import TrainingRows
from trainers.run_folder import begin, checkpoint_after, is_final, step_of
from trainers.run_log import cut_log
from trainers.scoring import ScoreCallback, rows_to_measure
from trainers.settings import TrainingRecipe
from trainers.sharding import check_checkpoint, start_processes
from trainers.stopping import StopOnSigterm

R = TypeVar("R", bound=TrainingRecipe)


def train(
    recipe: R, *, open_data: Callable[[R], TrainingRows], make_trainer: Callable[..., Any]
) -> Path | None:
    """Train, from the last checkpoint if there is one. Returns the result's folder.

    None if SIGTERM ended it; the last checkpoint is then of that moment.
    Raises RecipeRefused, DatasetUnreadable, ExportRefused, OSError.
    """
    disable_progress_bar()
    start_processes(recipe)
    output, first = Path(recipe.output), PartialState().is_main_process
    # The model first: a mistyped name shows before all rows are read.
    processor = load_processor(recipe)
    rows = open_data(recipe)
    with PartialState().main_process_first():
        checkpoint = begin(output, recipe, rows.facts)
        if first:
            cut_log(output, -1 if checkpoint is None else step_of(checkpoint))
    scores, validation = None, None
    if recipe.evaluation.rows and "validation" in rows.splits:
        validation = rows.splits["validation"]
        validation = validation.select(rows_to_measure(validation, recipe.evaluation.rows))
        questions = validation.with_format(None).to_list()
        scores = ScoreCallback(rows.ask, questions, settings=recipe.evaluation)
    if checkpoint is None or not is_final(checkpoint):
        stop = StopOnSigterm()
        resumed = checkpoint is not None
        if resumed:
            check_checkpoint(checkpoint)
        arguments = trainer_arguments(recipe, output, measured=scores is not None, resumed=resumed)
        trainer = make_trainer(
            recipe,
            arguments=arguments,
            model=load_model(recipe),
            peft_config=lora_config(recipe),
            train_dataset=rows.splits["train"],
            eval_dataset=validation,
            processing_class=processor,
            # Speed after what measures: what it hears of an evaluation is that it is over.
            callbacks=[
                Intervals(),
                *([scores] if scores else []),
                Speed(),
                LogLines(output),
                stop,
            ],
        )
        if scores:
            scores.trainer = trainer
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(RichProgressCallback() if Console().is_terminal else PlainLines())
        trainer.train(resume_from_checkpoint=str(checkpoint) if resumed else None)
        if stop.stopped:
            PartialState().destroy_process_group()
            return None
        checkpoint = checkpoint_after(output, trainer.state.global_step)
    return write_result(checkpoint, recipe, output, rows.facts, scores=scores)
