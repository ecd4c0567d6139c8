"""What a prompt says beside its file: the difference report, the checklist, kinds of rewriting.

Pure and light: whoever trains a judge renders with the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prompts import load_prompt

# Goes with every prompt over pictures.
SYSTEM_PROMPT = "system.v1"
AXES = ("execution", "consistency")
# What the one axis of generated pictures, null in their rows, is called in settings.
GEN_AXIS = "gen"
Difference = dict[str, str]
Checklist = list[dict[str, Any]]


# What the judge reads where a report has no item.
NO_DIFFERENCES = "No differences were found."

# What the writer is told, by kind. The last two ask for something that was done as well, so that
# scores between the ends come too.
MISMATCHES: Mapping[str, str] = {
    "other_object": "it asks for the same kind of change, but to another object of the picture.",
    "opposite_action": "it asks for the opposite, such as removing what was to be added, or making "
    "larger what was to be made smaller.",
    "other_attribute": "it asks for a change to the same object, but to another colour, size, "
    "material, place or other attribute.",
    "extra_demand": "it asks for all that the original asks for, and for one further change.",
}


def render_report(obvious: Sequence[Difference], detailed: Sequence[Difference]) -> str:
    """The difference report as the judge reads it: a line an item, obvious ones first."""
    if not obvious and not detailed:
        return NO_DIFFERENCES
    lines = []
    for title, items in (("At a glance:", obvious), ("On a closer look:", detailed)):
        if items:
            lines.append(title)
            lines += [
                f"- {d['category']}: {d['subject']}: {d['before']} -> {d['after']}" for d in items
            ]
    return "\n".join(lines)


def render_checklist(items: Checklist) -> str:
    """The checklist as the judge reads it: one line an item, `c1 (subject, critical): ...`."""
    return "\n".join(
        f"c{i} ({item['kind']}{', critical' if item['critical'] else ''}): {item['question']}"
        for i, item in enumerate(items, 1)
    )


def student_prompt_id(*, edit: bool, score_only: bool = False) -> str:
    """Id of the prompt of a reward model, which sees neither report nor checklist.

    `score_only` is the fast mode, without reasoning.
    """
    return f"judge_{'edit' if edit else 'gen'}{'_score_only' if score_only else ''}.v1"


def student_prompt(
    texts: Mapping[str, str], axis: str | None, *, score_only: bool = False
) -> tuple[str, str]:
    """Id and text of a reward model's prompt.

    `texts` holds the row's `instruction`, which goes with an axis, or its `prompt`.
    """
    prompt_id = student_prompt_id(edit=axis is not None, score_only=score_only)
    if axis is None:
        values = {"prompt": texts["prompt"]}
    else:
        values = {"instruction": texts["instruction"], "axis": axis}
    return prompt_id, load_prompt(prompt_id).render(values)
