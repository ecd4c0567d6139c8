"""The card of a trained model: what it learnt from, how, and how near its scores come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from pipelines.card.markdown import code, count, number, table, text
from pipelines.version import code_version
from trainers.settings import TrainingRecipe

Lines = Sequence[dict[str, Any]]
# What stands in the curve, where it was measured.
_CURVE = {
    "eval_loss": "validation loss",
    "eval_score_mae": "score MAE",
    "eval_score_only_mae": "score-only MAE",
    "eval_rewards/margins": "reward margin",
}


def model_card(recipe: TrainingRecipe, facts: list[dict[str, Any]], log: Lines) -> str:
    """The README of a result. `facts` are of its datasets, `log` the lines of `log.jsonl`."""
    front = {
        "library_name": "peft" if recipe.lora else "transformers",
        "pipeline_tag": "image-text-to-text",
        "base_model": recipe.model,
        "tags": ["reward-model", "image-editing", "text-to-image"],
    }
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# Reward model trained from {text(recipe.model)}",
        "It sees pictures and what was asked for, and answers with its reasoning and a score from "
        "1 to 5, or with the score alone, as JSON. It wants the prompts below, those of its "
        "training.",
        "## Data\n\n" + _data(facts),
        "## Scores\n\n" + _scores(log),
        "## Curve\n\n" + _curve(log),
        "## Prompts\n\n" + _prompts(facts),
        "## Recipe\n\n```yaml\n"
        + yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
        + "```",
        _code(),
    ]
    return "\n\n".join(parts) + "\n"


def _data(facts: list[dict[str, Any]]) -> str:
    rows = [
        (
            text(fact["path"]),
            fact["kind"],
            *(count(fact["rows"].get(split, 0)) for split in ("train", "validation")),
            code(fact["sha256"][:16]),
            code(fact.get("build_git_commit")),
            code(fact.get("manifest_sha256", "")[:16] or None),
        )
        for fact in facts
    ]
    head = ("dataset", "kind", "train", "validation", "sha256 of rows", "code", "manifest sha256")
    told = table(head, rows)
    for fact in facts:
        for word, n in fact["left_out"].items():
            told += f"\n\n{n} rows of {text(fact['path'])} contain {code(word)} and were left out."
        if n := fact["in_validation"]:
            told += (
                f"\n\n{n} training rows of {text(fact['path'])} share their prompt or source "
                "picture with a validation row and were left out."
            )
    return told


def _scores(log: Lines) -> str:
    """The last measures of each way of asking, over validation rows whose labels a judge gave."""
    last: dict[str, Any] = {}
    for line in log:
        for name, value in line.items():
            kind, _, rest = name.partition("_")
            if kind in ("eval", "result") and rest.endswith(("_mae", "_unread", "_rows")):
                last[rest] = value
    names = [name.removesuffix("_rows") for name in last if name.endswith("_rows")]
    if not names:
        return "Not measured."
    rows = [
        (
            name.replace("_", " "),
            str(last[f"{name}_rows"]),
            number(last[f"{name}_mae"], 3),
            str(last[f"{name}_unread"]),
            number(last[f"{name}_constant_mae"], 3),
        )
        for name in names
    ]
    head = ("asked for", "rows", "MAE", "replies without a score", "MAE of the best constant")
    return (
        "Greedy replies against the labels of the validation rows, which a judge gave: not against "
        "the truth. A reply without a score is in no MAE.\n\n" + table(head, rows, numbers=4)
    )


def _curve(log: Lines) -> str:
    """A line a measurement, with the training loss told last before it."""
    shown = {name: head for name, head in _CURVE.items() if any(name in line for line in log)}
    steps: dict[int, dict[str, Any]] = {}
    for line in log:
        here = {name: line[name] for name in ("loss", *shown) if name in line}
        steps.setdefault(line["step"], {}).update(here)
    loss, rows = None, []
    for step, values in sorted(steps.items()):
        loss = values.get("loss", loss)
        if values.keys() & shown.keys():
            rows.append((count(step), *(number(v, 3) for v in (loss, *map(values.get, shown)))))
    if not rows:
        return "Not measured during training."
    return table(("step", "training loss", *shown.values()), rows, numbers=2 + len(shown))


def _prompts(facts: list[dict[str, Any]]) -> str:
    """Those of the data: pairs may have been asked with prompts that have changed since."""
    rows = {(code(n), code(d)) for fact in facts for n, d in (*fact["system"], *fact["prompts"])}
    told = table(("prompt", "sha256"), sorted(rows))
    for fact in facts:
        if not fact["prompts"]:
            told += f"\n\nThe rows of {text(fact['path'])} do not say which prompts they answer."
    return told


def _code() -> str:
    version = code_version()
    return f"Trained by firm-foundry {version['package_version']}, {version['git_commit']}."
