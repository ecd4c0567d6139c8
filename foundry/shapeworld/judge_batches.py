"""Lessons as batches of token ids, and the loss on their replies."""

# The imports below live in the server's environment, where this runs.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from foundry.shapeworld import judge_tokenizer as words
from foundry.shapeworld.judge_model import TOKENS_A_PICTURE
from foundry.shapeworld.lessons import Lesson

# Not asked for: what stands before the reply.
IGNORED = -100
# Deep enough that a picture token can have met its like in the first picture, and early enough that
# the layers above can use what it tells.
_TELLING_LAYER = 1
_WEIGHT_OF_PICTURES = 0.5
# A score or verdict is one token of a reply, and what the reply is for.
_WEIGHT_OF_DECISIONS = 5.0
_DECISION_FOLLOWS = ('"score":', '"verdict":"')
Batch = tuple[dict[str, Any], Any, Any, Any]


def batches_of(
    lessons: Sequence[Lesson], processor: Any, *, size: int, dice: Random
) -> list[Batch]:
    """Batches of `size` lessons each; lessons of like length share one.

    So little of a batch is padding. They come in random order; a rest that fills none is left out.
    """
    tokens = [encode(lesson, processor.tokenizer) for lesson in lessons]
    order = sorted(range(len(lessons)), key=lambda i: sum(map(len, tokens[i])))
    groups = [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
    dice.shuffle(groups)
    return [
        make_batch([lessons[i] for i in group], [tokens[i] for i in group], processor)
        for group in groups
    ]


def encode(lesson: Lesson, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Token ids of what comes before the reply, and of the reply with its end."""
    text = words.conversation(lesson.text, pictures=len(lesson.pictures), system=lesson.system)
    text = text.replace(words.IMAGE, words.IMAGE * TOKENS_A_PICTURE)
    before, reply = tokenizer([text, lesson.reply + words.END])["input_ids"]
    return before, reply


def make_batch(
    lessons: Sequence[Lesson], tokens: Sequence[tuple[list[int], list[int]]], processor: Any
) -> Batch:
    """Model inputs; labels, which are IGNORED but on the reply and its end; their weights; and
    picture words.
    """
    rows = [before + reply for before, reply in tokens]
    inputs = model_inputs(rows, [p for lesson in lessons for p in lesson.pictures], processor)
    labels = [[IGNORED] * len(before) + reply for before, reply in tokens]
    keys = processor.tokenizer.get_added_vocab().items()
    deciding = {token for text, token in keys if text.endswith(_DECISION_FOLLOWS)}
    weights = [
        [_WEIGHT_OF_DECISIONS if before in deciding else 1.0 for before in (IGNORED, *row[:-1])]
        for row in labels
    ]
    told = picture_words(lessons, processor.tokenizer)
    return inputs, _table(labels, IGNORED), _table(weights, 1.0), told


def picture_words(lessons: Sequence[Lesson], tokenizer: Any) -> Any:
    """Token ids of the words for what each picture token of a batch shows, IGNORED where no more.

    A row a picture token, pictures in order; a word counts by its first token.
    """
    side = round(TOKENS_A_PICTURE**0.5)
    tokens_a_cell = side // 3
    cells = [
        row // tokens_a_cell * 3 + column // tokens_a_cell
        for row in range(side)
        for column in range(side)
    ]
    told = [seen[cell] for lesson in lessons for seen in lesson.seen for cell in cells]
    ids = {word: tokenizer(" " + word)["input_ids"][0] for some in told for word in some}
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


def _table(rows: Sequence[list[Any]], fill: float, *, left: bool = False) -> Any:
    import torch

    width = max(map(len, rows))
    gaps = ([fill] * (width - len(row)) for row in rows)
    return torch.tensor(
        [gap + row if left else row + gap for row, gap in zip(rows, gaps, strict=True)]
    )


def lesson_loss(model: Any, inputs: dict[str, Any], labels: Any, weights: Any, told: Any) -> Any:
    """Mean cross entropy, in nats a token, of the replies, and half of that of the picture words.

    Scores and verdicts weigh more, as `weights` says. `told` is what `picture_words` gives.
    Picture tokens are asked early on for the words for what they show, all of a token's words
    equally likely. So comparing is learnt where the pictures are, and replies find it there.
    """
    import torch

    kept: list[Any] = []
    layer = model.model.language_model.layers[_TELLING_LAYER]
    hook = layer.register_forward_hook(lambda _module, _given, out: kept.append(out))
    hidden = model.model(**inputs).last_hidden_state[:, :-1]
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
