"""What a judge in training is told at the words of a prompt or an instruction: where what they name
is, and how the picture meets what they ask for.
"""

from __future__ import annotations

from foundry.shapeworld.edit_truth import added_things, request_levels
from foundry.shapeworld.edits import Edit
from foundry.shapeworld.gen_truth import Absent, Group, Relation, checklist, verdict
from foundry.shapeworld.glimpses import change_at_place
from foundry.shapeworld.instructions import read_demands, sentences
from foundry.shapeworld.rows import Made
from foundry.shapeworld.scenes import PLACES
from foundry.shapeworld.wording import COUNT_WORDS, plural

# Where some words end, in characters of the text, and the words told there.
Wish = tuple[int, tuple[str, ...]]
_WORST_FIRST = ("no", "partly", "yes")


def wishes_of_prompt(made: Made, prompt: str) -> tuple[Wish, ...]:
    """For each wish of a prompt: the worst verdict on it, where its words end.

    For things also how many of the shape are there and in which colours. Raises ValueError for a
    prompt that asks for something else.
    """
    wanted, scene = made.wanted, made.scene
    verdicts: dict[Group | Relation | Absent | str, list[str]] = {}
    for item in checklist(wanted):
        verdicts.setdefault(item.about, []).append(verdict(item, scene))
    told = []
    for about, found in verdicts.items():
        words = [min(found, key=_WORST_FIRST.index)]
        if isinstance(about, Group):
            there = [thing.colour for thing in scene.things if thing.shape == about.shape]
            words += [COUNT_WORDS[len(there)], *there]
        told.append((_end(about, prompt), tuple(dict.fromkeys(words))))
    return tuple(sorted(told))


def _end(about: Group | Relation | Absent | str, prompt: str) -> int:
    """Where the words end that ask for it. Each shape is asked for once, and denials come last."""
    if isinstance(about, str):
        words = f"{about} background"
        return prompt.index(words) + len(words)
    if isinstance(about, Relation):
        words = f" the {about.other}"
        return prompt.rindex(f"{words}.") + len(words)
    if isinstance(about, Absent):
        words = plural(about.shape) if about.shape else str(about.colour)
        return prompt.rindex(words) + len(words)
    noun = about.shape if about.count == 1 else plural(about.shape)
    words = f"{about.colour} {noun}"
    return prompt.index(words) + len(words)


def wishes_of_instruction(edit: Edit, instruction: str) -> tuple[Wish, ...]:
    """For each sentence of an instruction, a request each: where a thing is that it names and what
    became of it, where its name ends, or that it is nowhere; and how well the request came out, 1-5
    in words, where the sentence ends.

    Raises UnreadInstruction or ValueError for an instruction that asks for something else.
    """
    told: dict[int, list[str]] = {}
    before, after = edit.source.by_key(), edit.edited.by_key()
    added = added_things(edit.source, edit.edited, edit.requests)
    begin = 0
    for sentence, demand, request, new in zip(
        sentences(instruction), read_demands(instruction), edit.requests, added, strict=True
    ):
        if demand.old:
            at = begin + sentence.index(demand.old.words) + len(demand.old.words)
            words = told.setdefault(at, ["nowhere"] if request.missing else [])
            for key in request.targets:
                words += PLACES[before[key].cell].split()
                words += change_at_place(before[key], after.get(key)).split()
        levels = request_levels(edit.source, edit.edited, request, new)
        end = begin + len(sentence) - 1
        told.setdefault(end, []).extend(COUNT_WORDS[level] for level in levels)
        begin += len(sentence) + 1
    return tuple((at, tuple(dict.fromkeys(words))) for at, words in sorted(told.items()))
