"""The figures of a report as Markdown, with bars of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

WIDEST_BAR = 30


def figures_markdown(figures: dict[str, Any], report: Path) -> str:
    """Scores, gates, agreement, controls, audit and speed, and where the page is."""
    build = figures["build"]
    parts = [f"# {build['name']}", f"Page: `{report}` (opens from disk, no network needed)"]
    for scores in figures["scores"]:
        parts += [f"## Scores: {scores['axis'] or 'alignment'}", _histogram(scores)]
    parts += [
        "## Gates",
        _table(
            ("gate", "rejected", "of scored rows"),
            (
                (g["gate"] if g["on"] else f"{g['gate']} (off)", g["rejected"], _share(g))
                for g in figures["gates"]
            ),
        ),
        "## Agreement",
        _table(
            (
                "axis",
                "all votes equal",
                "mean spread",
                "mean entropy, bits",
                "a score if free",
            ),
            (_agreement(axis) for axis in figures["agreement"]),
        ),
        "## Controls",
        _controls(figures["controls"]),
        "## Audit",
        _audit(figures["audit"]),
        "## Speed and tokens",
        _table(
            ("stage", "answers", "tokens in", "tokens out", "answers an hour"),
            (
                (
                    stage["table"] or "all",
                    stage["answers"],
                    stage["prompt_tokens"],
                    stage["completion_tokens"],
                    _number(stage["answers_an_hour"], 0),
                )
                for stage in figures["stages"]
            ),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _share(gate: dict[str, Any]) -> str:
    return f"{100 * gate['rejected'] / gate['met']:.2f}%" if gate["met"] else "-"


def _histogram(scores: dict[str, Any]) -> str:
    after, before = scores["after"], scores["before"]
    longest = max(*after, 1)
    rows = []
    for i, n in enumerate(after):
        bar = "█" * round(WIDEST_BAR * n / longest)
        rows.append((i + 1, *([int(before[i])] if before else []), n, bar))
    return _table(("score", *(["before balance"] if before else []), "rows", ""), rows)


def _agreement(axis: dict[str, Any]) -> tuple[str, ...]:
    voted, probed, freed = axis["voted"], axis["probed"], axis["freed"]
    return (
        axis["axis"] or "alignment",
        f"{100 * axis['unanimous'] / voted:.1f}% of {voted}" if voted else "-",
        _number(axis["spread"] / voted if voted else None, 2),
        _number(axis["entropy"] / probed if probed else None, 2),
        f"{100 * axis['label_mass'] / freed:.1f}% ({freed} asked)" if freed else "-",
    )


def _controls(controls: list[dict[str, Any]] | None) -> str:
    if not controls:
        return "None."
    return _table(
        ("control", "axis", "scored", "as expected", "mean score"),
        (
            (
                line["control"],
                line["axis"] or "alignment",
                line["n"],
                _expected(line),
                _number(line["mean_score"], 2),
            )
            for line in controls
        ),
    )


def _expected(line: dict[str, Any]) -> str:
    found, ran = line["as_expected"], line["n"] + line["rejected"]
    return "-" if found is None else f"{found} of {ran}"


def _audit(audit: dict[str, Any] | None) -> str:
    if audit is None:
        return "Not audited."
    told = f"{audit['scored']} of {audit['rows']} rows scored by a person."
    if audit["missing"]:
        told += (
            f" Of an earlier dataset: {audit['missing']} of {audit['audited']} audited answers "
            "are no longer in it."
        )
    lines = _table(
        ("axis", "rows", "mean absolute error", "kappa"),
        (
            (
                axis["axis"] or "alignment",
                axis["n"],
                _number(axis["mae"], 2),
                _number(axis["kappa"], 2),
            )
            for axis in audit["axes"]
        ),
    )
    return f"{told}\n\n{lines}"
