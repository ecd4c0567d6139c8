"""The card that stands beside the bundled judge's weights, written by its training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_WHAT = {
    "judge": "It answers the factory's prompts about ShapeWorld pictures: differences, checklists, "
    "verdicts and scores, with and without a report or checklist; it rewrites instructions and "
    "compares rationales, each as well as the table says.",
    "base": "A network like the judge's, without ever having seen a score or a verdict: it "
    "captions and compares pictures, lists differences, plans checklists and rewrites "
    "instructions. It stands in for an untuned model, for trainers to start from.",
}


def model_card(
    name: str, *, command: str, facts: dict[str, Any], curve: Sequence[dict[str, Any]]
) -> str:
    """The README of a checkpoint, `judge` or `base`: what it is, how it was made, how good it is.

    `facts` are shown as they are; `curve` are the evaluations up to this checkpoint.
    """
    lines = [
        "---",
        "license: apache-2.0",
        "library_name: transformers",
        "pipeline_tag: image-text-to-text",
        "---",
        f"# ShapeWorld {name}",
        "",
        "A Qwen3-VL of under three million parameters, trained from scratch. **It sees ShapeWorld "
        "and nothing else**: about any other picture it says something that means nothing.",
        "",
        _WHAT[name],
        "",
        "| | |",
        "|---|---|",
        f"| made by | `{command}` |",
        *(f"| {what} | {value} |" for what, value in facts.items()),
        "",
        "## How good it is",
        "",
        "Rows never trained on, greedy replies without a grammar; reports and checklists that are "
        "shown are the true ones, but for an item missing from one report in ten, and one made up "
        "in another. A reply without a score counts as wrong, and as 4 off. A rewritten "
        "instruction is right where this world could have written it.",
        "",
        "| asked | n | whole reply right | F1 of items | score or choice right | score MAE |",
        "|---|---|---|---|---|---|",
        *(_measures(kind, found) for kind, found in curve[-1]["found"].items()),
        "",
        "## Learning curve",
        "",
        _curve(curve),
    ]
    return "\n".join(lines)


def _measures(kind: str, found: dict[str, float]) -> str:
    cells = [f"{found['n']:.0f}", f"{found['exact']:.1%}", *_optional(found)]
    return f"| {kind} | " + " | ".join(cells) + " |"


def _optional(found: dict[str, float]) -> list[str]:
    formats = {"f1": "{:.3f}", "accuracy": "{:.1%}", "mae": "{:.3f}"}
    return [how.format(found[name]) if name in found else "" for name, how in formats.items()]


def _curve(curve: Sequence[dict[str, Any]]) -> str:
    """A column a kind of lesson: MAE of scores, F1 of lists, else share of right replies."""
    kinds = list(dict.fromkeys(kind for entry in curve for kind in entry["found"]))
    lines = [
        "MAE of the score where there is one, else F1 of the items, else the share of right ones.",
        "",
        "| lessons | minutes | loss | " + " | ".join(kinds) + " |",
        "|---|---|---|" + "---|" * len(kinds),
    ]
    for entry in curve:
        cells = [_main_measure(entry["found"].get(kind)) for kind in kinds]
        lines.append(
            f"| {entry['lessons']} | {entry['minutes']:.0f} | {entry['loss']:.3f} | "
            + " | ".join(cells)
            + " |"
        )
    return "\n".join(lines) + "\n"


def _main_measure(found: dict[str, float] | None) -> str:
    if found is None:
        return ""
    return f"{found.get('mae', found.get('f1', found['exact'])):.2f}"
