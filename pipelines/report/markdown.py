"""The figures of a report as Markdown, with bars of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

WIDEST_BAR = 30


def figures_markdown(figures: dict[str, Any], report: Path) -> str:
    """Scores, balance, gates, agreement, controls, audit and speed, and a link to the page.

    `report` is absolute. The link shows the whole path, as no browser follows it from a web page.
    """
    build = figures["build"]
    parts = [
        f"# {build['name']}",
        f"Page, on the machine of the run: [`{report}`]({report.as_uri()})",
    ]
    for scores in figures["scores"]:
        parts += [f"## Scores: {scores['axis'] or 'alignment'}", _histogram(scores)]
    parts += [
        "## Balance",
        _balance(figures["balance"]),
        "## Gates",
        _table(
            "gate | rejected | of scored rows",
            (
                (g["gate"] if g["on"] else f"{g['gate']} (off)", g["rejected"], _share(g))
                for g in figures["gates"]
            ),
        ),
        *([figures["leaks"]] if figures["leaks"] else []),
        "## Agreement",
        _table(
            "axis | all votes equal | mean spread | mean entropy, bits | over 1 bit"
            " | a score if free",
            (_agreement(axis) for axis in figures["agreement"]),
        ),
        "## Controls",
        _controls(figures["controls"]),
        "## Audit",
        _audit(figures["audit"]),
        "## Speed and tokens",
        _table(
            "stage | answers | asked again | tokens in | tokens out | time | answers an hour",
            (
                (
                    stage["table"] or "all",
                    stage["answers"],
                    stage["attempts"] - stage["answers"],
                    stage["prompt_tokens"],
                    stage["completion_tokens"],
                    f"{_number(stage['open_s'], 1)} s" if stage["timed"] else "-",
                    _number(stage["answers_an_hour"], 0),
                )
                for stage in figures["stages"]
            ),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: str, rows: Iterable[Sequence[Any]]) -> str:
    headers = head.split(" | ")
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _share(gate: dict[str, Any]) -> str:
    return f"{100 * gate['rejected'] / gate['met']:.2f}%" if gate["met"] else "-"


def _histogram(scores: dict[str, Any]) -> str:
    after, others = (
        scores["after"],
        {"before balance": scores["before"], "wanted": scores["target"]},
    )
    known = {name: counts for name, counts in others.items() if counts}
    longest = max(*after, 1)
    rows = []
    for i, n in enumerate(after):
        bar = "█" * round(WIDEST_BAR * n / longest)
        rows.append((i + 1, *(round(counts[i]) for counts in known.values()), n, bar))
    return _table(" | ".join(("score", *known, "rows", "")), rows)


def _balance(balance: list[dict[str, Any]] | None) -> str:
    if not balance:
        return "Nothing was left out for balance."
    return _table(
        "split | axis | rows before | rows after | kept | effective before | effective after"
        " | furthest from wanted",
        (
            (
                one["split"],
                one["axis"] or "alignment",
                sum(one["before"]),
                sum(one["after"]),
                f"{100 * one['kept_share']:.1f}%",
                _number(one["effective_before"], 0),
                _number(one["effective_after"], 0),
                f"{100 * one['largest_deviation']:.1f} points",
            )
            for one in balance
        ),
    )


def _agreement(axis: dict[str, Any]) -> tuple[str, ...]:
    voted, probed, freed = axis["voted"], axis["probed"], axis["freed"]
    return (
        axis["axis"] or "alignment",
        f"{100 * axis['unanimous'] / voted:.1f}% of {voted}" if voted else "-",
        _number(axis["spread"] / voted if voted else None, 2),
        _number(axis["entropy"] / probed if probed else None, 2),
        f"{100 * axis['unsure'] / probed:.1f}%" if probed else "-",
        f"{100 * axis['label_mass'] / freed:.1f}% ({freed} asked)" if freed else "-",
    )


def _controls(controls: list[dict[str, Any]] | None) -> str:
    if not controls:
        return "None."
    return _table(
        "control | axis | scored | no score | expected | as expected | mean score",
        (
            (
                line["control"],
                line["axis"] or "alignment",
                line["n"],
                line["rejected"],
                _range(line["expected"]),
                _as_expected(line),
                _number(line["mean_score"], 2),
            )
            for line in controls
        ),
    )


def _range(expected: Sequence[int] | None) -> str:
    return "-" if expected is None else " to ".join(str(n) for n in dict.fromkeys(expected))


def _as_expected(line: dict[str, Any]) -> str:
    found, ran = line["as_expected"], line["n"] + line["rejected"]
    return "-" if found is None else f"{found} of {ran}"


def _audit(audit: dict[str, Any] | None) -> str:
    if audit is None:
        return "Not audited."
    told = f"{audit['scored']} of {audit['rows']} rows scored by a person"
    told += f", unsure of {audit['unsure']}." if "unsure" in audit else "."
    if audit["missing"]:
        told += (
            f" Of an earlier dataset: {audit['missing']} of {audit['audited']} audited answers "
            "are no longer in it."
        )
    lines = _table(
        "axis | scored | holds for | mean absolute error (95% interval) | kappa (95% interval)",
        (
            (
                axis["axis"] or "alignment",
                axis["n"],
                _per_cent(axis.get("share_covered")),
                _with_interval(axis["mae"], axis.get("mae_interval")),
                _with_interval(axis["kappa"], axis.get("kappa_interval")),
            )
            for axis in audit["axes"]
        ),
    )
    return f"{told}\n\n{lines}"


def _per_cent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}% of rows"


def _with_interval(value: float | None, interval: Sequence[float | None] | None) -> str:
    told = _number(value, 2)
    if interval is None or None in interval:
        return told
    return f"{told} ({_number(interval[0], 2)} to {_number(interval[1], 2)})"
