"""How near a student's scores come to those of its data, by letting it answer.

Replies are greedy, without a grammar, and read as the factory reads a judge's. One that cannot be
read is counted and never becomes a score.
"""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import datasets
import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import TrainerCallback
from trl.data_utils import prepare_multimodal_messages

from foundry.evals.metrics import best_constant, mae
from pipelines.build import Row
from pipelines.dataset_reading import Dataset
from pipelines.rendering import GEN_AXIS, student_prompt_id
from pipelines.replies import Choice, ReplyInvalid, parse_choice
from prompts import load_prompt
from trainers.rows import make_example
from trainers.settings import Evaluation

# What the measures of a way of asking are called.
WAYS = {False: "score", True: "score_only"}


def rows_to_measure(rows: datasets.Dataset, wanted: int) -> list[int]:
    """Places of so many rows, the same for the same rows in any order."""
    columns = (rows.with_format(None)[name] for name in ("row_id", "axis"))
    keys = [
        sha256(f"{row_id} {axis}".encode()).digest() for row_id, axis in zip(*columns, strict=True)
    ]
    return sorted(sorted(range(len(keys)), key=keys.__getitem__)[:wanted])


class ScoreCallback(TrainerCallback):
    """Measures scores after each evaluation of the loss, on the same rows.

    `questions` are rows in memory; `ways` says whether they are asked with reasoning (False), for
    the score alone (True) or both. `trainer` is set once there is one.
    """

    def __init__(
        self,
        opened: Sequence[Dataset],
        questions: Sequence[Row],
        *,
        ways: Sequence[bool],
        settings: Evaluation,
    ) -> None:
        self.opened, self.questions, self.ways = opened, questions, ways
        self.settings = settings
        self.trainer: Any = None

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, Any], **_: Any
    ) -> None:
        """Put the measures into the log, and into what the trainer calls its metrics."""
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        with self.trainer.accelerator.autocast():
            found = self.measure(model, self.trainer.processing_class)
        metrics |= {f"eval_{name}": value for name, value in found.items()}
        self.trainer.log({f"eval_{name}": value for name, value in found.items()})

    def measure(self, model: Any, processor: Any) -> dict[str, Any]:
        """Measures of the rows in every way of asking, split among the processes of a run."""
        place = PartialState()
        mine = self.questions[place.process_index :: place.num_processes]
        found: dict[str, Any] = {}
        for score_only in self.ways:
            scores = score_rows(
                model,
                processor,
                self.opened,
                mine,
                score_only=score_only,
                settings=self.settings,
            )
            pairs = [
                (row["axis"] or GEN_AXIS, row["score"], score)
                for row, score in zip(mine, scores, strict=True)
            ]
            pairs = gather_object(pairs) if place.num_processes > 1 else pairs
            found |= measures(WAYS[score_only], pairs)
        return found


def measures(way: str, pairs: Sequence[tuple[str, int, int | None]]) -> dict[str, Any]:
    """Measures of (axis, score of the data, score given or None), by name.

    `<way>_mae` in score points is of the rows that were given a score, None where there is none;
    `<way>_unread` counts the others. `<way>_constant_mae` is the best that one score for all could
    do on all rows. Several axes have measures of their own.
    """
    axes = sorted({axis for axis, _, _ in pairs})
    parts = {way: pairs}
    if len(axes) > 1:
        parts |= {f"{way}_{axis}": [p for p in pairs if p[0] == axis] for axis in axes}
    found: dict[str, Any] = {}
    for name, part in parts.items():
        read = [(true, given) for _, true, given in part if given is not None]
        true, given = np.array([t for t, _ in read]), np.array([g for _, g in read])
        found[f"{name}_mae"] = mae(true, given) if read else None
        found[f"{name}_unread"] = len(part) - len(read)
        found[f"{name}_rows"] = len(part)
        found[f"{name}_constant_mae"] = best_constant(np.array([t for _, t, _ in part]), mae)[1]
    return found


def score_rows(
    model: Any,
    processor: Any,
    opened: Sequence[Dataset],
    rows: Sequence[Row],
    *,
    score_only: bool,
    settings: Evaluation,
) -> list[int | None]:
    """The score that the model gives each row, None for a reply that cannot be read."""
    was_training = model.training
    model.eval()
    found: list[int | None] = []
    with torch.no_grad():
        for start in range(0, len(rows), settings.batch):
            part = rows[start : start + settings.batch]
            examples = [make_example(opened, row, score_only=score_only) for row in part]
            replies = _generate(model, processor, examples, settings.max_new_tokens)
            schemas = [_schema_id(row, score_only=score_only) for row in part]
            found += [
                _read_score(reply, schema) for reply, schema in zip(replies, schemas, strict=True)
            ]
    model.train(was_training)
    return found


def _generate(
    model: Any, processor: Any, examples: Sequence[Row], max_new_tokens: int
) -> list[Choice]:
    asked = [prepare_multimodal_messages(e["prompt"], images=e["images"]) for e in examples]
    inputs = processor.apply_chat_template(
        asked,
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True, "padding_side": "left"},
    ).to(model.device)
    tokens = model.generate(
        **inputs, do_sample=False, max_new_tokens=max_new_tokens, use_cache=True
    )[:, inputs["input_ids"].shape[1] :]
    ends = model.generation_config.eos_token_id
    ends = set(ends) if isinstance(ends, list) else {ends}
    return [_choice(row, ends, processor) for row in tokens.tolist()]


def _choice(tokens: list[int], ends: set[int], processor: Any) -> Choice:
    """A reply as a server would give it: its text, and whether the model ended it."""
    end = next((i for i, token in enumerate(tokens) if token in ends), None)
    text = processor.tokenizer.decode(tokens[:end], skip_special_tokens=True)
    return Choice(content=text, finish_reason="length" if end is None else "stop")


def _schema_id(row: Row, *, score_only: bool) -> str:
    prompt_id = student_prompt_id(edit=row["axis"] is not None, score_only=score_only)
    schema_id = load_prompt(prompt_id).output_schema
    if schema_id is None:
        raise ValueError(f"prompt {prompt_id} has no output_schema")
    return schema_id


def _read_score(reply: Choice, schema_id: str) -> int | None:
    try:
        return parse_choice(reply, schema_id)["score"]
    except ReplyInvalid:
        return None
