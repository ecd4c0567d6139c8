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
from foundry.shapeworld.wishes import VERDICTS

# Not asked for: what stands before the reply.
IGNORED = -100
# Deep enough that a picture token can have met its like in the first picture, and early enough that
# the layers above can use what it tells.
_PICTURES_TELL = 1
# A layer later: what is asked for meets what is there, and the last layer can sum it up.
_WORDS_TELL = 2
_WEIGHT_OF_TOLD = 0.5
# A score or verdict is one token of a reply, and what the reply is for; in reasoning, what follows
# a colon says how what was found compares with what was asked.
_WEIGHT_OF_DECISIONS = 5.0
_DECISION_FOLLOWS = ('"score":', '"verdict":"')
_COMPARED = ":"
Batch = tuple[dict[str, Any], Any, Any, Any, Any]


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
    """Model inputs; labels, which are IGNORED but on replies and their ends; their weights; the
    words told at picture tokens, and those told at tokens of prompts and instructions.

    Beside what a model takes, inputs have `segments`, from which `lesson_loss` makes the mask, and
    `tells`, 1 at the tokens of prompts and instructions where something is told.
    """
    tokenizer = processor.tokenizer
    keys = tokenizer.get_added_vocab().items()
    deciding = {token for text, token in keys if text.endswith(_DECISION_FOLLOWS)}
    deciding.add(tokenizer.convert_tokens_to_ids(_COMPARED))
    rows, labels, weights = [], [], []
    tell, words_told = [], []
    for pack in packs:
        row, wanted = list(pack.shared), [IGNORED] * len(pack.shared)
        weighs, tells = [1.0] * len(row), [0] * len(row)
        for part in pack.parts:
            row += part.before + part.reply
            wanted += [IGNORED] * len(part.before) + part.reply
            weighs += [1.0] * len(part.before)
            weighs += [
                _WEIGHT_OF_DECISIONS if last in deciding else part.weight
                for last in (IGNORED, *part.reply[:-1])
            ]
            told = dict(part.told_at)
            tells += [int(i in told) for i in range(part.length)]
            words_told += [told[i] for i in sorted(told)]
        rows.append(row)
        labels.append(wanted)
        weights.append(weighs)
        tell.append(tells)
    lessons = [pack.lesson for pack in packs]
    inputs = model_inputs(rows, [p for lesson in lessons for p in lesson.pictures], processor)
    del inputs["attention_mask"]
    inputs["segments"] = _table([segments(pack) for pack in packs], IGNORED)
    inputs["tells"] = _table(tell, 0)
    image = tokenizer.convert_tokens_to_ids(words.IMAGE)
    places = _table([positions(pack, image) for pack in packs], (0, 0, 0))
    inputs["position_ids"] = places.permute(2, 0, 1)
    pictured, asked_for = picture_words(lessons, tokenizer), _words(words_told, tokenizer)
    return inputs, _table(labels, IGNORED), _table(weights, 1.0), pictured, asked_for


def picture_words(lessons: Sequence[Lesson], tokenizer: Any) -> Any:
    """Token ids of the words for what each picture token of a batch shows, IGNORED where no more.

    A row a picture token, pictures in order.
    """
    tokens_a_cell = SIDE_TOKENS // 3
    cells = [
        row // tokens_a_cell * 3 + column // tokens_a_cell
        for row in range(SIDE_TOKENS)
        for column in range(SIDE_TOKENS)
    ]
    told = [seen[cell] for lesson in lessons for seen in lesson.seen for cell in cells]
    return _words(told, tokenizer)


def _words(told: Sequence[tuple[str, ...]], tokenizer: Any) -> Any:
    """Token ids of words, a row each, IGNORED where no more; a word counts by its first token.

    A verdict is the token that follows its key in a reply, any other word one within a sentence.
    """
    said = {word for some in told for word in some}
    ids = {
        word: tokenizer(word if word in VERDICTS else f" {word}")["input_ids"][0] for word in said
    }
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


def lesson_loss(
    model: Any, inputs: dict[str, Any], labels: Any, weights: Any, pictured: Any, asked_for: Any
) -> Any:
    """Mean cross entropy, in nats a token, of the replies, and half of that of the words told on
    the way: at picture tokens (`pictured`) and at those of prompts and instructions (`asked_for`).

    Decisions weigh more, as `weights` says. Picture tokens tell early on what they show, the others
    a layer later how it meets what they ask for. All of a token's words are equally likely. So
    comparing is learnt where things are, and replies find it there.
    """
    import torch

    inputs = dict(inputs)
    seen = _what_is_seen(inputs.pop("segments"))
    tells = inputs.pop("tells") == 1
    kept: dict[int, Any] = {}
    hooks = [
        model.model.language_model.layers[layer].register_forward_hook(
            lambda _module, _given, out, layer=layer: kept.update({layer: out})
        )
        for layer in (_PICTURES_TELL, _WORDS_TELL)
    ]
    hidden = model.model(**inputs, attention_mask=seen).last_hidden_state[:, :-1]
    for hook in hooks:
        hook.remove()
    asked = labels[:, 1:] != IGNORED
    logits = model.lm_head(hidden[asked])
    each = torch.nn.functional.cross_entropy(logits.float(), labels[:, 1:][asked], reduction="none")
    weights = weights[:, 1:][asked]
    loss = (each * weights).sum() / weights.sum()
    if pictured.numel():
        pictures = kept[_PICTURES_TELL][inputs["mm_token_type_ids"] == 1]
        loss = loss + _WEIGHT_OF_TOLD * _told_loss(model, pictures, pictured)
    if asked_for.numel():
        loss = loss + _WEIGHT_OF_TOLD * _told_loss(model, kept[_WORDS_TELL][tells], asked_for)
    return loss


def _told_loss(model: Any, hidden: Any, told: Any) -> Any:
    """Mean cross entropy, in nats a token, of the words told at tokens."""
    logs = model.lm_head(model.model.language_model.norm(hidden)).float().log_softmax(-1)
    there = told != IGNORED
    likely = logs.gather(1, told.clamp(min=0)).masked_fill(~there, 0).sum(1) / there.sum(1)
    return -likely.mean()


def _what_is_seen(segments: Any) -> Any:
    """Which tokens (last axis) each token sees: of its own lesson and the shared ones, up to it."""
    queries, keys = segments[:, :, None], segments[:, None, :]
    return ((keys == queries) | (keys == 0)).tril()[:, None]
