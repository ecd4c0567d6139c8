"""Lessons packed by their pictures: what shares a row, where it stands, how rows are divided."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_servers import with_torch

from foundry.shapeworld.judge_packs import Pack, Part, positions, segments, split_evenly

IMAGE, TEXT = 1, 0


def pack(shared, *sizes):
    parts = [Part(before=[TEXT] * a, reply=[TEXT] * b) for a, b in sizes]
    return Pack(lesson=None, shared=shared, parts=parts)


def test_every_lesson_stands_right_behind_the_pictures():
    shown = pack([TEXT] + [IMAGE] * 36 + [TEXT] + [IMAGE] * 36 + [TEXT], (2, 1), (1, 3))
    found = positions(shown, IMAGE)
    assert found[:3] == [(0, 0, 0), (1, 1, 1), (1, 1, 2)]
    assert found[36] == (1, 6, 6)
    assert found[37:39] == [(7, 7, 7), (8, 8, 8)]
    assert found[73] == (8, 13, 13)
    assert found[74] == (14, 14, 14)
    assert found[75:] == [(i, i, i) for i in (15, 16, 17, 15, 16, 17, 18)]
    assert segments(shown) == [0] * 75 + [1] * 3 + [2] * 4


@given(st.lists(st.integers(1, 600), min_size=1, max_size=60), st.integers(1, 16))
def test_no_pack_is_lost_and_no_batch_is_empty(lengths, count):
    packs = [pack([TEXT] * n) for n in lengths]
    if len(packs) < count:
        with pytest.raises(ValueError, match="too few"):
            split_evenly(packs, count)
        return
    lists = split_evenly(packs, count)
    assert len(lists) == count
    assert all(lists)
    assert [p.length for some in lists for p in some] == sorted(lengths)


def test_batches_hold_about_as_many_tokens():
    packs = [pack([TEXT] * n) for n in range(50, 450)]
    sizes = [sum(p.length for p in some) for some in split_evenly(packs, 16)]
    assert max(sizes) < 1.15 * min(sizes)


ALONE = """
import copy
import json
import torch
from foundry.shapeworld.hints import VERDICTS
from foundry.shapeworld.judge_batches import (
    IGNORED, lesson_loss, make_batch, model_inputs, reply_loss, what_is_seen,
)
from foundry.shapeworld.judge_hints import hint_losses, watched
from foundry.shapeworld.judge_model import SMALL, hasten, new_model
from foundry.shapeworld.judge_packs import encode, pack_lessons
from foundry.shapeworld.judge_training import _new_processor
from foundry.shapeworld.mixture import every_lesson
lessons = every_lesson(3, 2, phase="judge")
processor = _new_processor(lessons)
tokenizer = processor.tokenizer
def first_token(word):
    return tokenizer(word if word in VERDICTS else " " + word)["input_ids"][0]
torch.manual_seed(1)
model = new_model(tokenizer, SMALL)
library = copy.deepcopy(model)
library.set_attn_implementation("eager")
hasten(model)
packs = pack_lessons(lessons, tokenizer)
# About one picture and about two, and about none.
chosen = [
    max((p for p in packs if len(p.lesson.pictures) == n), key=lambda p: len(p.parts))
    for n in (1, 2, 0)
]
logs, told, looks, compared = [], [], [], []
with torch.no_grad():
    inputs, asked, labels, weight = make_batch(chosen, processor)
    loss = lesson_loss(model, inputs, asked, labels, weight).item()
    inputs = dict(inputs)
    seen = what_is_seen(inputs.pop("segments"))
    with watched(model) as kept:
        hidden = model.model(**inputs, attention_mask=seen[:, None]).last_hidden_state
    packed = reply_loss(model, hidden, labels, weight).item()
    on_the_way = hint_losses(model, kept, inputs["mm_token_type_ids"] == 1, seen, asked)
    weight = weight[labels != IGNORED]
    for pack in chosen:
        for number, part in enumerate(pack.parts):
            reply, row = part.reply, pack.shared + part.before + part.reply
            alone = model_inputs([row], pack.lesson.pictures, processor)
            out = library(**alone, output_hidden_states=True, output_attentions=True)
            logits = out.logits[0, -len(reply) - 1 : -1]
            logs.append(
                torch.nn.functional.cross_entropy(logits, torch.tensor(reply), reduction="none")
            )
            is_picture = alone["mm_token_type_ids"][0] == 1
            shown = is_picture.nonzero()[:, 0].reshape(-1, 3, 2, 3, 2).transpose(2, 3)
            for hint in part.hints:
                # What the third layer gives and where its first head looks.
                at = len(pack.shared) + hint.at
                state = library.model.language_model.norm(out.hidden_states[3][0, at])
                likely = library.lm_head(state).log_softmax(-1)
                told.append(-likely[[first_token(word) for word in hint.words]].mean())
                if hint.cells:
                    where = torch.cat([shown[p, c // 3, c % 3].flatten() for p, c in hint.cells])
                    looks.append(-out.attentions[2][0, 0, at, where].log().mean())
            if number == 0 and len(pack.lesson.pictures) == 2:
                here, there = shown[1].flatten(), shown[0].flatten()
                compared.append(-out.attentions[1][0, 0, here, there].log().mean())
    alone = ((torch.cat(logs) * weight).sum() / weight.sum()).item()
finds = pack_lessons([x for x in lessons if x.kind == "scene_find"], tokenizer)
*_, labels, weights = make_batch(finds, processor)
print(json.dumps({
    "packed": packed, "alone": alone, "parts": [len(p.parts) for p in chosen],
    "weights": sorted(set(weight.tolist())),
    "pictured": len(asked["pictured"]),
    "loss": loss, "on_the_way": [one.item() for one in on_the_way],
    "alone_on_the_way": [torch.stack(some).mean().item() for some in (told, compared, looks)],
    "found": weights[labels != IGNORED].unique().tolist(),
    "ends": sorted({
        tokenizer.decode(part.before[: at.at + 1]).endswith(lesson.text[: hint.at])
        for lesson in lessons
        for part in [encode(lesson, tokenizer)]
        for hint, at in zip(lesson.hints, part.hints, strict=True)
    }),
}))
"""


@pytest.mark.vllm
def test_lessons_in_one_row_have_the_losses_that_they_have_alone_in_the_library():
    found = SimpleNamespace(**json.loads(with_torch(ALONE)))
    assert min(found.parts[:2]) > 3
    assert found.parts[2] == 1
    assert found.weights == [1.0, 5.0]
    assert found.packed == pytest.approx(found.alone, rel=1e-4)
    # Each picture of a pack is told once, whatever the number of its lessons.
    assert found.pictured == 36 * 3
    # Every lesson is told at the tokens with which its words end.
    assert found.ends == [True]
    assert found.on_the_way[1:] == pytest.approx(found.alone_on_the_way, rel=1e-3)
    assert found.loss == pytest.approx(found.packed + sum(found.on_the_way) / 2, rel=1e-4)
    assert found.found == [5.0]
