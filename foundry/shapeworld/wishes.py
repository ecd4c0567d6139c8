"""What a judge in training is told at the words of a prompt or an instruction: where what they name
is, and how the picture meets what they ask for.
"""

from __future__ import annotations

from foundry.shapeworld.edit_truth import added_things, request_levels
from foundry.shapeworld.edits import Edit
from foundry.shapeworld.gen_truth import Absent, Group, Relation, checklist, verdict
from foundry.shapeworld.glimpses import became
from foundry.shapeworld.instructions import read_demands, sentences
from foundry.shapeworld.rows import Made
from foundry.shapeworld.scenes import PLACES
from foundry.shapeworld.wording import COUNT_WORDS, plural

# Where some words end, in characters of a text or counted in its tokens, and the words told there.
Told = tuple[int, tuple[str, ...]]
# From the worst on.
VERDICTS = ("no", "partly", "yes")


def wishes_of_prompt(made: Made, prompt: str) -> tuple[Told, ...]:
    """What is told of each wish of a prompt, where its words end: the worst verdict on it.

    Where it is for things, also how many of the shape are there and in which colours. Raises
    ValueError for a prompt that asks for something else.
    """
    wanted, scene = made.wanted, made.scene
    verdicts: dict[Group | Relation | Absent | str, list[str]] = {}
    for item in checklist(wanted):
        verdicts.setdefault(item.about, []).append(verdict(item, scene))
    told = []
    for about, found in verdicts.items():
        words = [min(found, key=VERDICTS.index)]
        if isinstance(about, Group):
            there = [thing.colour for thing in scene.things if thing.shape == about.shape]
            words += [COUNT_WORDS[len(there)], *there]
        told.append((_end_of_wish(about, prompt), tuple(dict.fromkeys(words))))
    return tuple(sorted(told))


def _end_of_wish(about: Group | Relation | Absent | str, prompt: str) -> int:
    """Where in a prompt the words end that ask for something. What must not be there comes last."""
    if isinstance(about, str):
        return _end(f"{about} background", prompt)
    if isinstance(about, Relation):
        return _end(f" the {about.other}.", prompt) - 1
    if isinstance(about, Absent):
        return _end(plural(about.shape) if about.shape else str(about.colour), prompt)
    noun = about.shape if about.count == 1 else plural(about.shape)
    # In the sentence that asks for things, not in one that denies others.
    return _end(f"{about.colour} {noun}", prompt.split(".")[0])


def _end(words: str, text: str) -> int:
    """Where words end that a text holds, the last time. Raises ValueError where it does not."""
    begin = text.rfind(words)
    if begin < 0:
        raise ValueError(f"nothing asks for '{words}' in '{text}'")
    return begin + len(words)


def wishes_of_instruction(edit: Edit, instruction: str) -> tuple[Told, ...]:
    """What is told of each sentence of an instruction, a request each.

    Where the name of a thing ends: its place and what became of it, or that there is nothing. Where
    the sentence ends: how well the request came out, 1-5 in words. Raises UnreadInstruction or
    ValueError for an instruction that asks for something else.
    """
    told: dict[int, list[str]] = {}
    before, after = edit.source.by_key(), edit.edited.by_key()
    added = added_things(edit.source, edit.edited, edit.requests)
    begin = 0
    for sentence, demand, request, new in zip(
        sentences(instruction), read_demands(instruction), edit.requests, added, strict=True
    ):
        if demand.old:
            words = told.setdefault(begin + _end(demand.old.words, sentence), [])
            words += ["nothing"] if request.missing else []
            for key in request.targets:
                words += PLACES[before[key].cell].split()
                words += became(before[key], after.get(key))
        levels = request_levels(edit.source, edit.edited, request, new)
        end = begin + len(sentence) - 1
        told.setdefault(end, []).extend(COUNT_WORDS[level] for level in levels)
        begin += len(sentence) + 1
    return tuple((at, tuple(dict.fromkeys(words))) for at, words in sorted(told.items()))
