"""What a person is told to look at: the meaning of the scores 1 to 5 on each axis, in plain words.

The same ladders as in prompts/edit_execution, edit_consistency and gen_score: a change there
changes what a score means, and belongs here too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pipelines.build import Kind
from pipelines.rendering import AXES


@dataclass(frozen=True, kw_only=True)
class Rubric:
    """A question, what 5, 4, 3, 2 and 1 mean as answers to it, and what does not or does count."""

    title: str
    question: str
    ladder: tuple[str, str, str, str, str]
    notes: tuple[str, ...]


_RUBRICS: dict[str | None, Rubric] = {
    "execution": Rubric(
        title="Execution",
        question="Was the instruction carried out?",
        ladder=(
            "Everything asked for was done, and done right.",
            "Everything asked for was done; one very small point is off.",
            "The main thing was done, but important parts are missing or wrong.",
            "There is hardly a trace of what was asked for.",
            "Nothing of what was asked for was done.",
        ),
        notes=(
            "Look only at what the instruction asks for; other changes do not matter here.",
            "Beauty, realism and picture quality do not matter.",
        ),
    ),
    "consistency": Rubric(
        title="Consistency",
        question="Was everything else left as it was?",
        ladder=(
            "Nothing changed that was not meant to.",
            "One change that you notice at once, or one or two small ones, or both.",
            "Two or three that you notice at once, or three or four small ones, or both.",
            "Four or more that you notice at once, or five or more small ones.",
            "It is almost entirely another picture.",
        ),
        notes=(
            "Count only what changed without being asked for.",
            "It counts: marks left where a thing was added or removed; a thing that changed in "
            "other ways than the one asked for.",
            "It does not count: what comes into view or is hidden because something else was moved "
            "or removed; slight differences of sharpness, noise, light or colour, unless the "
            "instruction is about them; anything about a thing that was to be replaced; what "
            "follows by nature from the change, such as a shadow.",
            "Whether the instruction was carried out, beauty and realism do not matter here.",
        ),
    ),
    None: Rubric(
        title="Prompt following",
        question="Does the picture show what the prompt asks for?",
        ladder=(
            "Everything asked for is there and right.",
            "The main things are right; one or two minor details are off.",
            "The main thing is there, but several things asked for are missing or wrong.",
            "Most of the main things are missing or wrong.",
            "The picture has nothing to do with the prompt.",
        ),
        notes=("Beauty, realism and picture quality do not matter.",),
    ),
}


def axes_of(kind: Kind) -> tuple[str | None, ...]:
    """The axes that a build's rows are scored on; None is the only one of generated pictures."""
    return AXES if kind == "edit" else (None,)


def rubric(axis: str | None) -> dict[str, Any]:
    """The rubric of an axis as plain data: `title`, `question`, `ladder` from 5 to 1, `notes`."""
    return asdict(_RUBRICS[axis])
