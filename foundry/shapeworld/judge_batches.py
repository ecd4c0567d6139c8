"""Lessons as batches of token ids, and the loss on their replies."""

# The imports below live in the server's environment, where this runs.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from foundry.shapeworld import judge_tokenizer as words
from foundry.shapeworld.judge_model import SIDE_TOKENS
from foundry.shapeworld.judge_packs import Pack, pack_lessons, positions, segments, split_evenly
from foundry.shapeworld.lesson import Lesson

# Not asked for: what stands before the reply.
IGNORED = -100
# Deep enough that a picture token can have met its like in the first picture, and early enough that
# the layers above can use what it tells.
_TELLING_LAYER = 1
_WEIGHT_OF_PICTURES = 0.5
# A score or verdict is one token of a reply, and what the reply is for; in reasoning, what follows
# a colon says how what was found compares with what was asked.
_WEIGHT_OF_DECISIONS = 5.0
_DECISION_FOLLOWS = ('"score":', '"verdict":"')
_COMPARED = ":"
Batch = tuple[dict[str, Any], Any, Any, Any]


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
    """Model inputs; labels, which are IGNORED but on replies and their ends; their weights; and
    picture words.

    Beside what a model takes, inputs have `segments`, from which `lesson_loss` makes the mask.
    """
    tokenizer = processor.tokenizer
    keys = tokenizer.get_added_vocab().items()
    deciding = {token for text, token in keys if text.endswith(_DECISION_FOLLOWS)}
    deciding.add(tokenizer.convert_tokens_to_ids(_COMPARED))
    rows, labels = [], []
    for pack in packs:
        row, wanted = list(pack.shared), [IGNORED] * len(pack.shared)
        for before, reply in pack.parts:
            row += before + reply
            wanted += [IGNORED] * len(before) + reply
        rows.append(row)
        labels.append(wanted)
    weights = [
        [_WEIGHT_OF_DECISIONS if before in deciding else 1.0 for before in (IGNORED, *row[:-1])]
        for row in labels
    ]
    lessons = [pack.lesson for pack in packs]
    inputs = model_inputs(rows, [p for lesson in lessons for p in lesson.pictures], processor)
    del inputs["attention_mask"]
    inputs["segments"] = _table([segments(pack) for pack in packs], IGNORED)
    image = tokenizer.convert_tokens_to_ids(words.IMAGE)
    places = _table([positions(pack, image) for pack in packs], (0, 0, 0))
    inputs["position_ids"] = places.permute(2, 0, 1)
    return inputs, _table(labels, IGNORED), _table(weights, 1.0), picture_words(lessons, tokenizer)


def picture_words(lessons: Sequence[Lesson], tokenizer: Any) -> Any:
    """Token ids of the words for what each picture token of a batch shows, IGNORED where no more.

    A row a picture token, pictures in order; a word counts by its first token.
    """
    tokens_a_cell = SIDE_TOKENS // 3
    cells = [
        row // tokens_a_cell * 3 + column // tokens_a_cell
        for row in range(SIDE_TOKENS)
        for column in range(SIDE_TOKENS)
    ]
    told = [seen[cell] for lesson in lessons for seen in lesson.seen for cell in cells]
    said = {word for some in told for word in some}
    ids = {word: tokenizer(" " + word)["input_ids"][0] for word in said}
    return _table([[ids[word] for word in some] for some in told] or [[]], IGNORED)


def model_inputs(
    rows: Sequence[list[int]], pictures: Sequence[Any], processor: Any, *, left: bool = False
) -> dict[str, Any]:
    """Model inputs for token ids and all their pictures, padded at the right, or at the `left`."""
    tokenizer = processor.tokenizer
    ids = _table(rows, tokenizer.pad_token_id, left=left)
    inputs = {
        "input_ids": ids,
        "attention_mask": _table([[1] * len(row) for row in rows], 0, left=left),
        "mm_token_type_ids": (ids == tokenizer.convert_tokens_to_ids(words.IMAGE)).int(),
    }
    if pictures:
        inputs |= processor.image_processor(images=list(pictures), return_tensors="pt")
    return inputs


def _table(rows: Sequence[list[Any]], fill: Any, *, left: bool = False) -> Any:
    import torch

    width = max(map(len, rows))
    gaps = ([fill] * (width - len(row)) for row in rows)
    return torch.tensor(
        [gap + row if left else row + gap for row, gap in zip(rows, gaps, strict=True)]
    )


def lesson_loss(model: Any, inputs: dict[str, Any], labels: Any, weights: Any, told: Any) -> Any:
    """Mean cross entropy, in nats a token, of the replies, and half of that of the picture words.

    Decisions weigh more, as `weights` says. `told` is what `picture_words` gives.
    Picture tokens are asked early on for the words for what they show, all of a token's words
    equally likely. So comparing is learnt where the pictures are, and replies find it there.
    """
    import torch

    inputs = dict(inputs)
    seen = _what_is_seen(inputs.pop("segments"))
    kept: list[Any] = []
    layer = model.model.language_model.layers[_TELLING_LAYER]
    hook = layer.register_forward_hook(lambda _module, _given, out: kept.append(out))
    hidden = model.model(**inputs, attention_mask=seen).last_hidden_state[:, :-1]
    hook.remove()
    asked = labels[:, 1:] != IGNORED
    logits = model.lm_head(hidden[asked])
    each = torch.nn.functional.cross_entropy(logits.float(), labels[:, 1:][asked], reduction="none")
    weights = weights[:, 1:][asked]
    loss = (each * weights).sum() / weights.sum()
    if not told.numel():
        return loss
    pictures = kept[0][inputs["mm_token_type_ids"] == 1]
    logs = model.lm_head(model.model.language_model.norm(pictures)).float().log_softmax(-1)
    there = told != IGNORED
    likely = logs.gather(1, told.clamp(min=0)).masked_fill(~there, 0).sum(1) / there.sum(1)
    return loss - _WEIGHT_OF_PICTURES * likely.mean()


def _what_is_seen(segments: Any) -> Any:
    """Which tokens (last axis) each token sees: of its own lesson and the shared ones, up to it."""
    queries, keys = segments[:, :, None], segments[:, None, :]
    return ((keys == queries) | (keys == 0)).tril()[:, None]
