"""Sections of a dataset card about its scores: how many of each, gates, balance, controls, audit.

Each is a pure function of the facts; "" where there is nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.card.facts import Facts, known
from pipelines.card.markdown import code, count, number, share, table, text
from pipelines.dataset_settings import Gates
from pipelines.funnel import tell_leaks

_GATES = {
    "leak": "its reasons cite what a trained judge will not see",
    "degenerate": "its reasons repeat themselves, echo the form or say nothing",
    "contradiction": "its score contradicts its own verdicts or reasons",
    "agreement": "its votes or probabilities spread too far",
    "grounding": "the report of differences contradicts the pixels",
    "contamination": "it shares words or pictures with a benchmark",
    "duplicate": "it is nearly the same as another row",
}
_CONTROLS = {
    "identical": "source and edited picture are the same",
    "shuffled": "the text is that of another row",
    "blank": "the picture is blank",
}
_LEAKS = (
    "A leak cites what a trained judge will not see; the reply is asked for again, if it may be."
)
_EFFECTIVE = (
    "Rows of scores that were plentiful were left out, drawn by hash; none was repeated. Effective "
    "rows are what the rows are worth when they are weighted to the target instead (Kish)."
)


def scores(facts: Facts) -> str:
    """The histogram, and its numbers."""
    found: Sequence[Mapping[str, Any]] = facts.manifest.get("scores") or ()
    rows = []
    for entry in found:
        kinds = [("in the dataset", "after")]
        if entry["before"] != entry["after"]:
            kinds.insert(0, ("before balance", "before"))
        for label, key in kinds:
            cells = [entry["split"], entry["axis"] or "score", label, *map(count, entry[key])]
            rows.append([*cells, count(sum(entry[key]))])
    if not rows:
        return ""
    head = ("split", "axis", "rows", "1", "2", "3", "4", "5", "all")
    return "![Histograms of the scores](scores.png)\n\n" + table(head, rows, numbers=6)


def gates(facts: Facts) -> str:
    """Which gates were on, and what share of the scored rows each kept out."""
    settings = Gates.model_validate(facts.manifest["recipe"]["gates"])
    rejects = facts.manifest["funnel"]["rejects"]
    rows = []
    for name, meaning in _GATES.items():
        if name == "grounding" and facts.kind == "gen":
            continue
        n = rejects.get(f"gate:{name}", 0)
        on = settings.is_on(name)
        cells = (count(n), share(n, facts.scored)) if on or n else ("off", "-")
        rows.append((name, meaning, *cells))
    told = (
        f"A gate keeps a row out and never changes a score. Of {count(facts.scored)} scored rows, "
        "each counted once, under the first gate that objected:\n\n"
        + table(("gate", "a row is kept out because", "rows", "share"), rows, numbers=2)
    )
    leaks = tell_leaks(facts.manifest["funnel"], facts.kind)
    return f"{told}\n\n{leaks} {_LEAKS}" if leaks else told


def balance(facts: Facts) -> str:
    """Quotas, and how near the dataset comes to them; and rewritten instructions."""
    rows = [
        (
            entry["split"],
            entry["axis"] or "score",
            " / ".join(f"{100 * part:.0f}%" for part in entry["target"]),
            f"{100 * entry['kept_share']:.1f}%",
            f"{entry['effective_before']:,.0f}",
            f"{entry['effective_after']:,.0f}",
            f"{100 * entry['largest_deviation']:.1f} points",
        )
        for entry in facts.manifest.get("balance") or ()
    ]
    parts = []
    if rows:
        head = ("split", "axis", "target share of 1 to 5", "rows kept")
        head = (*head, "effective rows before", "and after", "furthest from target")
        parts += [_EFFECTIVE, table(head, rows, numbers=4)]
    else:
        parts.append("The scores were not balanced: they are as the judge gave them.")
    if facts.rewrites:
        rewritten = [(code(kind), count(n)) for kind, n in facts.rewrites.items()]
        parts.append("Rows in the dataset whose instruction was rewritten, by the way it departs:")
        parts.append(table(("rewrite", "rows"), rewritten, numbers=1))
    return "\n\n".join(parts)


def controls(facts: Facts) -> str:
    """What the judge gave to rows whose score is known beforehand."""
    found = facts.manifest.get("controls") or ()
    if not found:
        return "No control rows ran in this build."
    rows = []
    for entry in found:
        expected = entry.get("expected")
        rows.append(
            (
                _CONTROLS.get(entry["control"]) or text(entry["control"]),
                entry["axis"] or "score",
                _range(expected),
                count(entry["n"]),
                count(entry["rejected"]),
                "-" if entry["as_expected"] is None else count(entry["as_expected"]),
                share(entry["as_expected"] or 0, entry["n"] + entry["rejected"] if expected else 0),
                number(entry["mean_score"]),
            )
        )
    head = ("control", "axis", "expected", "scored", "rejected", "as expected", "share", "mean")
    return (
        "Rows whose score is known beforehand went through the same stages. They are not part of "
        "the dataset.\n\n" + table(head, rows, numbers=6)
    )


def _range(expected: Sequence[int] | None) -> str:
    if expected is None:
        return "-"
    low, high = expected
    return f"{low}" if low == high else f"{low} to {high}"


def audit(facts: Facts) -> str:
    """How near the scores come to a person's, or that nobody looked."""
    found = facts.audit
    if found is None or not facts.audited:
        return "**Not audited.** No person has compared these scores with their own."
    covered = any(axis.get("share_covered") is not None for axis in found["axes"])
    rows = []
    for axis in found["axes"]:
        cells = [
            axis["axis"] or "score",
            count(axis["n"]),
            _with_interval(axis["mae"], axis["mae_interval"]),
            _with_interval(axis["kappa"], axis["kappa_interval"]),
        ]
        part = axis.get("share_covered")
        rows.append([*cells, "-" if part is None else f"{100 * part:.1f}%"] if covered else cells)
    others = (("unanswered", "unanswered"), ("unsure", "unsure"), ("gone since", "gone"))
    told = (
        f"A person was shown {count(found['rows'])} rows without the model's scores "
        f"({text(found['audited_at'])}) and scored {count(facts.audited)} of them"
        + "".join(f"; {name}: {count(found[key])}" for name, key in others if key in found)
        + ". Errors are weighted to the dataset's own scores, kappa quadratically; in brackets: "
        "95% intervals, where there are rows enough for one.\n\n"
    )
    if covered:
        told += "The figures speak of the share of the dataset that is given as covered.\n\n"
    if str(found["audited_at"]) < str(facts.manifest["finished_at"]):
        told += "The dataset was written again after the audit.\n\n"
    head = ("axis", "rows", "mean absolute error", "kappa", *(["covered"] if covered else []))
    return told + table(head, rows, numbers=len(head) - 1)


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None or interval is None or not known(interval):
        return number(value)
    return f"{value:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"
