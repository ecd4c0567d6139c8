"""What a judge in training is told at the words of a prompt or an instruction: where what they name
is, and how the picture meets what they ask for.
"""

from __future__ import annotations

from dataclasses import dataclass

from foundry.shapeworld.edit_truth import added_things, request_levels
from foundry.shapeworld.edits import Edit
from foundry.shapeworld.gen_truth import Absent, Group, Relation, checklist, verdict
from foundry.shapeworld.glimpses import became
from foundry.shapeworld.instructions import read_demands, sentences
from foundry.shapeworld.rows import Made
from foundry.shapeworld.scenes import PLACES, Scene, Thing
from foundry.shapeworld.wording import COUNT_WORDS, plural

# From the worst on.
VERDICTS = ("no", "partly", "yes")


@dataclass(frozen=True, kw_only=True)
class Hint:
    """What is told where some words end: `words`, and in which `cells` the things are that they
    name, each the number of a picture and of a cell.

    `at` counts the characters of a text up to there, or is the number of the last token.
    """

    at: int
    words: tuple[str, ...]
    cells: tuple[tuple[int, int], ...] = ()


def hints_of_prompt(made: Made, prompt: str) -> tuple[Hint, ...]:
    """What is told of each wish of a prompt, where its words end: the worst verdict on it.

    Where it is for things, also how many of the shape are there, in which colours and cells. Raises
    ValueError for a prompt that asks for something else.
    """
    wanted, scene = made.wanted, made.scene
    verdicts: dict[Group | Relation | Absent | str, list[str]] = {}
    for item in checklist(wanted):
        verdicts.setdefault(item.about, []).append(verdict(item, scene))
    found = []
    for about, given in verdicts.items():
        words = [min(given, key=VERDICTS.index)]
        named = [] if isinstance(about, str) else _named(about, scene)
        if isinstance(about, Group):
            words += [COUNT_WORDS[len(named)], *(thing.colour for thing in named)]
        found.append(
            Hint(
                at=_end_of_wish(about, prompt),
                words=tuple(dict.fromkeys(words)),
                cells=tuple((0, thing.cell) for thing in named),
            )
        )
    return tuple(sorted(found, key=lambda hint: hint.at))


def _named(about: Group | Relation | Absent, scene: Scene) -> list[Thing]:
    """The things that the words for it look for: of a relation those that the last word names."""
    if isinstance(about, Absent):
        return [
            thing
            for thing in scene.things
            if about.shape in (None, thing.shape) and about.colour in (None, thing.colour)
        ]
    shape = about.other if isinstance(about, Relation) else about.shape
    return [thing for thing in scene.things if thing.shape == shape]


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


def hints_of_instruction(edit: Edit, instruction: str) -> tuple[Hint, ...]:
    """What is told of each sentence of an instruction, a request each.

    Where the name of a thing ends: its place and what became of it, or that there is nothing; its
    cell is that of the source. Where the sentence ends: how well the request came out, 1-5 in
    words, with the cells of what came of it. Where both end at one word, all of it. Raises
    UnreadInstruction or ValueError for an instruction that asks for something else.
    """
    words: dict[int, list[str]] = {}
    cells: dict[int, list[tuple[int, int]]] = {}
    before, after = edit.source.by_key(), edit.edited.by_key()
    added = added_things(edit.source, edit.edited, edit.requests)
    begin = 0
    for sentence, demand, request, new in zip(
        sentences(instruction), read_demands(instruction), edit.requests, added, strict=True
    ):
        olds = [before[key] for key in request.targets]
        if demand.old:
            at = begin + _end(demand.old.words, sentence)
            told = words.setdefault(at, ["nothing"] if request.missing else [])
            for old in olds:
                told += PLACES[old.cell].split()
                told += became(old, after.get(old.key))
            cells.setdefault(at, []).extend((0, old.cell) for old in olds)
        levels = request_levels(edit.source, edit.edited, request, new)
        end = begin + len(sentence) - 1
        words.setdefault(end, []).extend(COUNT_WORDS[level] for level in levels)
        news = [new, *(after.get(old.key) for old in olds)]
        cells.setdefault(end, []).extend((1, thing.cell) for thing in news if thing)
        begin += len(sentence) + 1
    return tuple(
        Hint(at=at, words=tuple(dict.fromkeys(words[at])), cells=tuple(cells[at]))
        for at in sorted(words)
    )
