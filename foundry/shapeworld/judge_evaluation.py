"""How well a judge in training answers fresh lessons, generating freely, without a grammar.

A quick look for the learning curve; ShapeBench measures through the factory, on vLLM.
"""

# The imports below live in the server's environment, where this runs.
# pyright: reportMissingImports=false
from __future__ import annotations

import copy
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from foundry.shapeworld import judge_tokenizer as words
from foundry.shapeworld.instructions import UnreadInstruction, read_demands
from foundry.shapeworld.judge_batches import model_inputs
from foundry.shapeworld.judge_packs import encode
from foundry.shapeworld.lesson import Lesson
from foundry.shapeworld.mixture import Phase, every_lesson
from foundry.shapeworld.rows import MEASURED_IN_TRAINING
from pipelines.replies import SCORES

_BATCH = 256
_LONGEST_REPLY = 320

Found = dict[str, dict[str, float]]


def evaluate(model: Any, processor: Any, *, groups: int, phase: Phase) -> Found:
    """Measures by kind of lesson, over rows of so many groups of edits and of prompts.

    The report or checklist that a judge is shown is not its own, but the true one, as in lessons.
    `exact` is the share of replies that are right as a whole; of rewritten instructions, of those
    that this world could have written. For lists, `f1` is that of their items, all replies
    together. For choices, `accuracy`. For scores, of quality all three, `accuracy` and `mae`; a
    score that is not there or not from 1 to 5 counts as wrong and as 4 off.
    """
    import torch

    lessons = every_lesson(MEASURED_IN_TRAINING, groups, phase=phase)
    # Weights as they will be written and served; what a loader computes anew stays exact.
    rounded = copy.deepcopy(model).eval()
    for parameter in rounded.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    replies = generate(rounded, processor, lessons)
    by_kind: dict[str, list[int]] = defaultdict(list)
    for i, lesson in enumerate(lessons):
        by_kind[lesson.kind].append(i)
    return {
        kind: measure([lessons[i] for i in some], [replies[i] for i in some])
        for kind, some in by_kind.items()
    }


def measure(lessons: Sequence[Lesson], replies: Sequence[str]) -> dict[str, float]:
    """The measures of one kind of lesson."""
    if lessons[0].kind == "rewrite_instruction":
        # Drawn at random: no reply is the only right one.
        return {"n": float(len(replies)), "exact": fmean(map(_can_be_read, replies))}
    wanted = [lesson.reply for lesson in lessons]
    pairs = list(zip(wanted, replies, strict=True))
    result = {"n": float(len(pairs)), "exact": fmean(w == r for w, r in pairs)}
    if lessons[0].kind.startswith("scene_"):
        return result
    values = [(json.loads(w), _read(r)) for w, r in pairs]
    if scores := [name for name, value in values[0][0].items() if type(value) is int]:
        misses = [
            abs(w[name] - r[name]) if _has_score(r, name) else None
            for w, r in values
            for name in scores
        ]
        result |= {
            "accuracy": fmean(miss == 0 for miss in misses),
            "mae": fmean(4 if miss is None else miss for miss in misses),
        }
    if "better" in values[0][0]:
        chosen = [isinstance(r, dict) and w["better"] == r.get("better") for w, r in values]
        return result | {"accuracy": fmean(chosen)}
    if not scores or "verdicts" in values[0][0]:
        sets = [(_items(w), _items(r)) for w, r in values]
        hits = sum((w & r).total() for w, r in sets)
        result["f1"] = 2 * hits / max(1, sum(w.total() + r.total() for w, r in sets))
    return result


def one_line(found: Found) -> str:
    """The measures in a line for the person who waits."""
    parts = []
    for kind, measures in found.items():
        names = [name for name in ("f1", "accuracy", "mae") if name in measures] or ["exact"]
        parts.append(f"{kind} " + " ".join(f"{name} {measures[name]:.2f}" for name in names))
    return " | ".join(parts)


def generate(model: Any, processor: Any, lessons: Sequence[Lesson]) -> list[str]:
    """The model's own replies, each token the likeliest."""
    import torch

    tokenizer = processor.tokenizer
    replies = [""] * len(lessons)
    tokens = [encode(lesson, tokenizer) for lesson in lessons]
    # Replies of like length end together.
    order = sorted(range(len(lessons)), key=lambda i: len(tokens[i][1]))
    for start in range(0, len(order), _BATCH):
        group = order[start : start + _BATCH]
        inputs = model_inputs(
            [tokens[i][0] for i in group],
            [picture for i in group for picture in lessons[i].pictures],
            processor,
            left=True,
        )
        longest = max(len(tokens[i][1]) for i in group)
        with torch.no_grad():
            out = model.generate(
                **{name: value.to(model.device) for name, value in inputs.items()},
                do_sample=False,
                max_new_tokens=min(_LONGEST_REPLY, longest + 24),
                pad_token_id=tokenizer.pad_token_id,
            )
        for i, ids in zip(group, out[:, inputs["input_ids"].shape[1] :], strict=True):
            text = tokenizer.decode(ids, skip_special_tokens=False)
            replies[i] = text.split(words.END)[0]
    return replies


def _read(reply: str) -> Any:
    try:
        return json.loads(reply)
    except ValueError:
        return None


def _can_be_read(reply: str) -> bool:
    value = _read(reply)
    text = value.get("instruction") if isinstance(value, dict) else None
    try:
        return isinstance(text, str) and bool(read_demands(text))
    except UnreadInstruction:
        return False


def _has_score(value: Any, name: str) -> bool:
    # By type: JSON's `true` and `1.0` equal 1 in Python and are no scores.
    score = value.get(name) if isinstance(value, dict) else None
    return type(score) is int and score in SCORES


def _items(value: Any) -> Counter[str]:
    """The items of a reply's lists, as text; of verdicts, id and verdict."""
    parts = value.values() if isinstance(value, dict) else ()
    entries = [item for part in parts if isinstance(part, list) for item in part]
    known = [
        {name: text for name, text in entry.items() if name != "evidence"}
        for entry in entries
        if isinstance(entry, dict)
    ]
    return Counter(json.dumps(entry, sort_keys=True) for entry in known)
