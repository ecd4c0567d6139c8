"""How near a student's scores come to those of its data, by letting it answer.

Replies are greedy, without a grammar, and read as the factory reads a judge's. One that cannot be
read is counted and never becomes a score.
"""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any

import datasets
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import TrainerCallback
from trl.data_utils import prepare_multimodal_messages

from pipelines.build import Row
from pipelines.rendering import GEN_AXIS
from pipelines.replies import Choice
from trainers.measures import measures, read_score
from trainers.settings import Evaluation
from trainers.sharding import whole

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

    `questions` are rows without pictures, of which each is asked once in every way that some of
    them are trained in; `ask` as in `TrainingRows`. `trainer` is set once there is one.
    """

    def __init__(
        self, ask: Callable[[Row, bool], Row], questions: Sequence[Row], *, settings: Evaluation
    ) -> None:
        self.ask, self.settings = ask, settings
        self.questions = list({(row["row_id"], row["axis"]): row for row in questions}.values())
        self.ways = sorted({row["score_only"] for row in questions})
        self.trainer: Any = None

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, Any], **_: Any
    ) -> None:
        """Put the measures into the log, and into what the trainer calls its metrics."""
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        with self.trainer.accelerator.autocast(), whole(model):
            found = self.measure(model, self.trainer.processing_class, shared=True)
        named = {f"eval_{name}": value for name, value in found.items()}
        metrics |= named
        self.trainer.log(named)

    def measure(self, model: Any, processor: Any, *, shared: bool) -> dict[str, Any]:
        """Measures of the rows, which all processes of a run share, or this one has alone."""
        place = PartialState()
        shared = shared and place.num_processes > 1
        mine = self.questions[place.process_index :: place.num_processes]
        mine = mine if shared else self.questions
        found: dict[str, Any] = {}
        for score_only in self.ways:
            examples = (self.ask(row, score_only) for row in mine)
            replies = answer(model, processor, examples, settings=self.settings)
            scores = [
                read_score(reply, axis=row["axis"], score_only=score_only)
                for reply, row in zip(replies, mine, strict=True)
            ]
            given = zip(mine, scores, strict=True)
            triples = [(row["axis"] or GEN_AXIS, row["score"], score) for row, score in given]
            triples = gather_object(triples) if shared else triples
            found |= measures(WAYS[score_only], triples)
        return found


def answer(
    model: Any, processor: Any, examples: Iterable[Row], *, settings: Evaluation
) -> list[Choice]:
    """The model's reply to each example, which has `prompt` and `images`."""
    was_training, waiting = model.training, iter(examples)
    model.eval()
    found: list[Choice] = []
    with torch.no_grad():
        while part := list(islice(waiting, settings.batch)):
            found += _generate(model, processor, part, settings.max_new_tokens)
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
    # The class's own: after each call of the model's, FSDP would share weights out again. Each
    # process has all of them, and need not wait for the others' replies.
    tokens = type(model).generate(
        model,
        **inputs,
        do_sample=False,
        max_new_tokens=max_new_tokens,
        use_cache=True,
        synced_gpus=False,
    )[:, inputs["input_ids"].shape[1] :]
    ends = model.generation_config.eos_token_id
    ends = set(ends) if isinstance(ends, list) else {ends}
    return [_choice(row, ends, processor) for row in tokens.tolist()]


def _choice(tokens: list[int], ends: set[int], processor: Any) -> Choice:
    """A reply as a server would give it: its text, and whether the model ended it."""
    end = next((i for i, token in enumerate(tokens) if token in ends), None)
    text = processor.tokenizer.decode(tokens[:end], skip_special_tokens=True)
    return Choice(content=text, finish_reason="length" if end is None else "stop")
