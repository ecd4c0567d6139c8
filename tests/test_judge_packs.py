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
from foundry.shapeworld.judge_batches import IGNORED, lesson_loss, make_batch, model_inputs
from foundry.shapeworld.judge_model import SMALL, hasten, new_model
from foundry.shapeworld.judge_packs import encode, pack_lessons
from foundry.shapeworld.judge_training import _new_processor
from foundry.shapeworld.mixture import every_lesson
from foundry.shapeworld.wishes import VERDICTS
lessons = every_lesson(3, 2, phase="judge")
processor = _new_processor(lessons)
torch.manual_seed(1)
model = new_model(processor.tokenizer, SMALL)
library = copy.deepcopy(model)
hasten(model)
packs = pack_lessons(lessons, processor.tokenizer)
chosen = [max(packs, key=lambda p: len(p.parts)), next(p for p in packs if not p.shared)]
tokenizer = processor.tokenizer
def first_token(word):
    return tokenizer(word if word in VERDICTS else " " + word)["input_ids"][0]
with torch.no_grad():
    inputs, labels, weight, told, wished = make_batch(chosen, processor)
    packed = lesson_loss(model, inputs, labels, weight, told[:0], wished[:0]).item()
    on_the_way = lesson_loss(model, inputs, labels, weight, told[:0], wished).item() - packed
    weight = weight[labels != IGNORED]
    losses, told_alone = [], []
    for pack in chosen:
        for part in pack.parts:
            reply, row = part.reply, pack.shared + part.before + part.reply
            alone = model_inputs([row], pack.lesson.pictures, processor)
            out = library(**alone, output_hidden_states=True)
            logits = out.logits[0, -len(reply) - 1 : -1]
            losses.append(
                torch.nn.functional.cross_entropy(logits, torch.tensor(reply), reduction="none")
            )
            # What the third layer gives at the places where something is told.
            for at, words in part.told_at:
                hidden = out.hidden_states[3][0, len(pack.shared) + at]
                logs = library.lm_head(library.model.language_model.norm(hidden)).log_softmax(-1)
                told_alone.append(-logs[[first_token(word) for word in words]].mean())
    alone = ((torch.cat(losses) * weight).sum() / weight.sum()).item()
finds = pack_lessons([x for x in lessons if x.kind == "scene_find"], tokenizer)
_, asked, found, *_ = make_batch(finds, processor)
print(json.dumps({
    "packed": packed, "alone": alone, "parts": [len(p.parts) for p in chosen],
    "weights": sorted(set(weight.tolist())),
    "told": len(told), "pictures": sum(len(p.lesson.pictures) for p in chosen),
    "found": found[asked != IGNORED].unique().tolist(),
    "on_the_way": on_the_way, "told_alone": torch.stack(told_alone).mean().item() / 2,
    "wished": [len(wished), sum(len(part.told_at) for pack in chosen for part in pack.parts)],
    "ends": sorted({
        tokenizer.decode(part.before[: at + 1]).endswith(lesson.text[:end])
        for lesson in lessons
        for part in [encode(lesson, tokenizer)]
        for (end, _), (at, _) in zip(lesson.told_at, part.told_at, strict=True)
    }),
}))
"""


@pytest.mark.vllm
def test_lessons_in_one_row_have_the_loss_that_they_have_alone_in_the_library():
    found = SimpleNamespace(**json.loads(with_torch(ALONE)))
    assert found.parts[0] > 3
    assert found.parts[1] == 1
    assert found.weights == [1.0, 5.0]
    # Each picture of a pack is told once, whatever the number of its lessons.
    assert found.told == 36 * found.pictures == 72
    # And every lesson at the tokens of its prompt or instruction, with which the words end.
    assert found.wished[0] == found.wished[1] > found.parts[0] / 2
    assert found.ends == [True]
    assert found.on_the_way == pytest.approx(found.told_alone, rel=1e-3)
    assert found.found == [5.0]
    assert found.packed == pytest.approx(found.alone, rel=1e-4)
