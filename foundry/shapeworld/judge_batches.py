"""Lessons as batches of token ids, and the loss on their replies."""

# The imports below live in the server's environment, where this runs.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from foundry.shapeworld import judge_tokenizer as words
from foundry.shapeworld.judge_hints import hint_losses, hints, watched
from foundry.shapeworld.judge_packs import Pack, pack_lessons, positions, segments, split_evenly
from foundry.shapeworld.judge_tables import IGNORED, table
from foundry.shapeworld.lesson import Lesson

_WEIGHT_OF_HINTS = 0.5
# A score or verdict is one token of a reply, and what the reply is for; in reasoning, what follows
# a colon says how what was found compares with what was asked.
_WEIGHT_OF_DECISIONS = 5.0
_DECISION_FOLLOWS = ('"score":', '"verdict":"')
_COMPARED = ":"
Batch = tuple[dict[str, Any], dict[str, Any], Any, Any]


def batches_of(
    lessons: Sequence[Lesson], processor: Any, *, count: int, dice: Random
) -> list[Batch]:
    """The lessons in `count` batches of about as many tokens each, in random order.

    Rows of like length share a batch, so little of it is padding.
    """
    groups = split_evenly(pack_lessons(lessons, processor.tokenizer), count)
    dice.shuffle(groups)
    return [make_batch(group, processor) for group in groups]


def make_batch(packs: Sequence[Pack], processor: Any) -> Batch:
    """Model inputs; what is asked on the way (judge_hints.py); labels, which are IGNORED but on
    replies and their ends; and the weights of these.

    Beside what a model takes, inputs have `segments`, from which `lesson_loss` makes the mask.
    """
    tokenizer = processor.tokenizer
    keys = tokenizer.get_added_vocab().items()
    deciding = {token for text, token in keys if text.endswith(_DECISION_FOLLOWS)}
    deciding.add(tokenizer.convert_tokens_to_ids(_COMPARED))
    rows, labels, weights = [], [], []
    for pack in packs:
        row, wanted = list(pack.shared), [IGNORED] * len(pack.shared)
        weighs = [1.0] * len(row)
        for part in pack.parts:
            row += part.before + part.reply
            wanted += [IGNORED] * len(part.before) + part.reply
            weighs += [1.0] * len(part.before)
            weighs += [
                _WEIGHT_OF_DECISIONS if last in deciding else part.weight
                for last in (IGNORED, *part.reply[:-1])
            ]
        rows.append(row)
        labels.append(wanted)
        weights.append(weighs)
    inputs = model_inputs(rows, [p for pack in packs for p in pack.lesson.pictures], processor)
    del inputs["attention_mask"]
    inputs["segments"] = table([segments(pack) for pack in packs], IGNORED)
    image = tokenizer.convert_tokens_to_ids(words.IMAGE)
    places = table([positions(pack, image) for pack in packs], (0, 0, 0))
    inputs["position_ids"] = places.permute(2, 0, 1)
    return inputs, hints(packs, tokenizer), table(labels, IGNORED), table(weights, 1.0)


def in_all(batch: Any, change: Callable[[Any], Any]) -> Any:
    """A batch with every tensor changed."""
    return tuple(
        {name: change(value) for name, value in one.items()}
        if isinstance(one, dict)
        else change(one)
        for one in batch
    )


def model_inputs(
    rows: Sequence[list[int]], pictures: Sequence[Any], processor: Any, *, left: bool = False
) -> dict[str, Any]:
    """Model inputs for token ids and all their pictures, padded at the right, or at the `left`."""
    tokenizer = processor.tokenizer
    ids = table(rows, tokenizer.pad_token_id, left=left)
    inputs = {
        "input_ids": ids,
        "attention_mask": table([[1] * len(row) for row in rows], 0, left=left),
        "mm_token_type_ids": (ids == tokenizer.convert_tokens_to_ids(words.IMAGE)).int(),
    }
    if pictures:
        inputs |= processor.image_processor(images=list(pictures), return_tensors="pt")
    return inputs


def lesson_loss(
    model: Any, inputs: dict[str, Any], asked: dict[str, Any], labels: Any, weights: Any
) -> Any:
    """Mean cross entropy, in nats a token, of the replies, and half of each that of `asked`.

    Decisions weigh more, as `weights` says. What is asked on the way (judge_hints.py) is learnt
    where things are, and replies find it there.
    """
    inputs = dict(inputs)
    seen = what_is_seen(inputs.pop("segments"))
    with watched(model) as kept:
        out = model.model(**inputs, attention_mask=seen[:, None])
    loss = reply_loss(model, out.last_hidden_state, labels, weights)
    is_picture = inputs["mm_token_type_ids"] == 1
    return loss + _WEIGHT_OF_HINTS * sum(hint_losses(model, kept, is_picture, seen, asked))


def reply_loss(model: Any, hidden: Any, labels: Any, weights: Any) -> Any:
    """Mean cross entropy of the replies, by what the last layer gives: (row, token, width)."""
    import torch

    asked = labels[:, 1:] != IGNORED
    logits = model.lm_head(hidden[:, :-1][asked])
    each = torch.nn.functional.cross_entropy(logits.float(), labels[:, 1:][asked], reduction="none")
    weights = weights[:, 1:][asked]
    return (each * weights).sum() / weights.sum()


def what_is_seen(segments: Any) -> Any:
    """Which tokens (last axis) each token sees: of its own lesson and the shared ones, up to it."""
    queries, keys = segments[:, :, None], segments[:, None, :]
    return ((keys == queries) | (keys == 0)).tril()
