"""Lessons about the same pictures as one row of tokens, so that pictures are computed once.

A row begins with what its lessons share, the system text and the pictures. Each lesson that follows
sees this beginning and itself, at the positions it would have alone: the loss of its reply is the
same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from foundry.shapeworld import judge_tokenizer as words
from foundry.shapeworld.judge_model import SIDE_TOKENS, TOKENS_A_PICTURE
from foundry.shapeworld.lesson import Lesson

Part = tuple[list[int], list[int]]


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Lessons with one beginning: its token ids, and of each lesson those of the rest.

    A part is what comes before a reply, and the reply with its end. `lesson` is the first of them,
    for its pictures.
    """

    lesson: Lesson
    shared: list[int]
    parts: list[Part]

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.shared) + sum(len(before) + len(reply) for before, reply in self.parts)


def encode(lesson: Lesson, tokenizer: Any) -> Part:
    """Token ids of what comes before the reply, and of the reply with its end."""
    text = words.conversation(lesson.text, pictures=len(lesson.pictures), system=lesson.system)
    text = text.replace(words.IMAGE, words.IMAGE * TOKENS_A_PICTURE)
    before, reply = tokenizer([text, lesson.reply + words.END])["input_ids"]
    return before, reply


def pack_lessons(lessons: Sequence[Lesson], tokenizer: Any) -> list[Pack]:
    """Packs in order of their first lessons; a lesson without pictures is alone in its own."""
    end_of_picture = tokenizer.convert_tokens_to_ids(words.VISION_END)
    packs: dict[Any, Pack] = {}
    for lesson in lessons:
        before, reply = encode(lesson, tokenizer)
        shows = [i for i, token in enumerate(before) if token == end_of_picture]
        begin = shows[-1] + 1 if shows else 0
        key = (*map(id, lesson.pictures), lesson.system) if shows else id(lesson)
        pack = packs.setdefault(key, Pack(lesson=lesson, shared=before[:begin], parts=[]))
        pack.parts.append((before[begin:], reply))
    return list(packs.values())


def segments(pack: Pack) -> list[int]:
    """For each token: 0 in the shared beginning, else the number of its lesson, from 1."""
    sizes = [len(before) + len(reply) for before, reply in pack.parts]
    return [0] * len(pack.shared) + [i for i, size in enumerate(sizes, 1) for _ in range(size)]


def positions(pack: Pack, image_token: int) -> list[tuple[int, int, int]]:
    """Of each token its time, row and column, as Qwen3-VL counts them.

    A token of text is one further than what came before it in all three; a picture's tokens share
    their time, and what follows is one further than its last row and column.
    """
    found: list[tuple[int, int, int]] = []
    at = within = 0
    for token in pack.shared:
        if token == image_token:
            row, column = divmod(within, SIDE_TOKENS)
            found.append((at, at + row, at + column))
            within = (within + 1) % TOKENS_A_PICTURE
            at += 0 if within else SIDE_TOKENS
        else:
            found.append((at, at, at))
            at += 1
    for before, reply in pack.parts:
        found += [(i, i, i) for i in range(at, at + len(before) + len(reply))]
    return found


def split_evenly(packs: Sequence[Pack], count: int) -> list[list[Pack]]:
    """Packs by length, in `count` lists of about as many tokens each.

    Raises ValueError for fewer packs than lists.
    """
    if len(packs) < count:
        raise ValueError(f"{len(packs)} packs of lessons are too few for {count} batches")
    ordered = sorted(packs, key=lambda pack: pack.length)
    total, done = sum(pack.length for pack in packs), 0
    lists: list[list[Pack]] = [[]]
    for left, pack in zip(range(len(ordered), 0, -1), ordered, strict=True):
        full = done * count >= total * len(lists)
        needed = left <= count - len(lists)
        if lists[-1] and len(lists) < count and (full or needed):
            lists.append([])
        lists[-1].append(pack)
        done += pack.length
    return lists
