"""What was measured of the gates, as Markdown tables."""

from __future__ import annotations

from typing import Any

from foundry.evals.markdown import table_row, table_rule
from foundry.evals.quality import MOST_VOTE_SPREAD
from pipelines.dataset_settings import Gates

# Recall where a fault can be told from its row, and precision, that were asked of every gate.
ASKED = 0.95


def markdown(found: dict[str, Any]) -> str:
    """The tables of a report."""
    return "\n".join("\n".join(part(found)) + "\n" for part in (_faults, _gates, _scores))


def _faults(found: dict[str, Any]) -> list[str]:
    lines = [
        "## Faults found",
        "",
        table_row(
            "rows", "planted", "told from the row", "n", "rejected by its gate", "by any",
            "asked >=95%",
        ),
        table_rule(7),
    ]  # fmt: skip
    missed = []
    for one in found["faults"]:
        n = one["planted"]
        own = _share(one["by_its_gate"], n) if one["gate"] else "no gate should"
        told = "yes" if one["decidable"] else "no"
        met = _met(one["by_its_gate"], n) if one["gate"] and one["decidable"] else ""
        if met == "no":
            missed.append(f"{one['kind']} {one['fault']}")
        lines.append(
            table_row(one["kind"], one["fault"], told, n, own, _share(one["by_any"], n), met)
        )
    return [
        *lines,
        "",
        _missed(
            "Of the faults that can be told from the row, 95% were to be found by their gate",
            missed,
        ),
        "",
        "A near duplicate can be told where its twin stands with the same score; a moved score "
        "where it goes two or more against verdicts that allowed the one before alone: the ladder "
        "of the contradiction gate itself says so, and that it finds those shows that it works, "
        "not that the ladder is right. An edit is two rows, one an axis. A leak, a praise or a "
        "damnation is a sentence that nobody had seen who wrote the gates; some leaks are worded "
        "so that a reader could miss them too. A report of no change is against the score where "
        "execution is 4 or 5 or consistency 1 or 2, else against the pixels, and told where more "
        f"than {Gates().most_unreported:.0%} of the picture changed; an invented report tells of "
        "the changes of the real edit beside the source saved as a JPEG of quality 80. Votes apart "
        "are three ones and two fives or the other way round, where the gate allows a spread of "
        f"{MOST_VOTE_SPREAD}.",
    ]


def _gates(found: dict[str, Any]) -> list[str]:
    lines = [
        "## What the gates rejected",
        "",
        table_row(
            "rows", "gate", "rejected", "planted for it", "other faults", "no fault", "precision",
            "their MAE", "asked >=95%",
        ),
        table_rule(9),
    ]  # fmt: skip
    missed = []
    for one in found["gates"]:
        alone = _error(one["unplanted_mae"])
        planted = one["rejected"] - one["unplanted"]
        met = _met(planted, one["rejected"])
        if met == "no":
            missed.append(f"{one['kind']} {one['gate']}")
        lines.append(
            table_row(
                one["kind"], one["gate"], one["rejected"], one["planted_for_it"],
                one["other_faults"], one["unplanted"], _share(planted, one["rejected"]), alone,
                met,
            )
        )  # fmt: skip
    return [
        *lines,
        "",
        _missed("95% of what a gate rejects was to be a planted fault", missed),
        "",
        "Precision counts every planted fault as rightly rejected, whatever gate did it, and "
        "every other row as wrongly rejected, those that only sound like a leak and the judge's "
        "own contradictions among them: their MAE is the error of their scores against the truth.",
    ]


def _scores(found: dict[str, Any]) -> list[str]:
    lines = [
        "## Scores against the truth (MAE)",
        "",
        table_row(
            "axis", "rows", "before the gates", "kept", "after the gates", "rows without a fault"
        ),
        table_rule(6),
    ]
    for one in found["scores"]:
        errors = [_error(one[name]) for name in ("before", "after", "without_faults")]
        lines.append(
            table_row(one["axis"], one["rows"], errors[0], one["kept"], errors[1], errors[2])
        )
    worse = [
        f"{one['axis']} ({_error(one['before'])} before, {_error(one['after'])} after)"
        for one in found["scores"]
        if one["after"] is not None and one["after"] > one["before"]
    ]
    if worse:
        lines += [
            "",
            "Kept rows are further from the truth than all rows were on: "
            f"{', '.join(worse)}. What was rejected there was nearer to it than what stayed, among "
            "which are the moved scores that no gate found.",
        ]
    return lines


def _met(part: int, whole: int) -> str:
    return "yes" if part >= ASKED * whole else "no"


def _missed(asked: str, missed: list[str]) -> str:
    return f"{asked}. " + (f"Missed: {', '.join(missed)}." if missed else "None is missed.")


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%} ({part} of {whole})" if whole else ""
