"""Lessons packed by their pictures: what shares a row, where it stands, how rows are divided."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_servers import with_torch

from foundry.shapeworld.judge_packs import Pack, positions, segments, split_evenly

IMAGE, TEXT = 1, 0


def pack(shared, *sizes):
    return Pack(lesson=None, shared=shared, parts=[([TEXT] * a, [TEXT] * b) for a, b in sizes])


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
from foundry.shapeworld.judge_packs import pack_lessons
from foundry.shapeworld.judge_training import _new_processor
from foundry.shapeworld.mixture import every_lesson
lessons = every_lesson(3, 2, phase="judge")
processor = _new_processor(lessons)
torch.manual_seed(1)
model = new_model(processor.tokenizer, SMALL)
library = copy.deepcopy(model)
hasten(model)
packs = pack_lessons(lessons, processor.tokenizer)
chosen = [max(packs, key=lambda p: len(p.parts)), next(p for p in packs if not p.shared)]
weighted, weights = 0.0, 0.0
with torch.no_grad():
    inputs, labels, weight, told = make_batch(chosen, processor)
    packed = lesson_loss(model, inputs, labels, weight, told[:0]).item()
    weight = weight[labels != IGNORED]
    losses = []
    for pack in chosen:
        for before, reply in pack.parts:
            row = pack.shared + before + reply
            alone = model_inputs([row], pack.lesson.pictures, processor)
            logits = library(**alone).logits[0, -len(reply) - 1 : -1]
            losses.append(
                torch.nn.functional.cross_entropy(logits, torch.tensor(reply), reduction="none")
            )
    alone = ((torch.cat(losses) * weight).sum() / weight.sum()).item()
print(json.dumps({
    "packed": packed, "alone": alone, "parts": [len(p.parts) for p in chosen],
    "weights": sorted(set(weight.tolist())),
    "told": len(told), "pictures": sum(len(p.lesson.pictures) for p in chosen),
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
    assert found.packed == pytest.approx(found.alone, rel=1e-4)
