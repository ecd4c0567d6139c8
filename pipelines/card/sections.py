"""The sections of a dataset card, each a pure function of the facts; "" where there is nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines.card.facts import Facts, known
from pipelines.card.licenses import forbids_commerce, is_unknown
from pipelines.card.markdown import code, count, number, share, table, text
from pipelines.dataset_settings import Gates
from pipelines.funnel import tell_leaks

_SCORING = ("gen_scores", "execution", "consistency")
_STEPS = {
    "gen": (
        "A **checklist** is made from the prompt alone, the picture withheld: 3 to 12 questions "
        "that the picture must answer, so that the plan cannot bend to what was drawn.",
        "The judge sees the picture, the prompt and the checklist, and writes a verdict with its "
        "evidence for each item, then its reasons, then a **score** from 1 to 5.",
    ),
    "edit": (
        "The **differences** between the two pictures are reported with the instruction withheld, "
        "the obvious ones first, so that the report cannot bend to what was asked for.",
        "The judge sees the pictures, the report and the instruction, and writes its reasons and a "
        "score from 1 to 5, once for **execution** (was the instruction carried out) and once for "
        "**consistency** (was all else left alone). Each is a row.",
    ),
}
_REWRITING = (
    "Some rows get a second life with a **rewritten instruction** that their edit does not follow, "
    "for the low scores that edits seldom get (`parent_id`, `rewrite`). They are judged like any "
    "other; nothing about their score is taken for granted."
)
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


def judges_of(facts: Facts) -> list[str]:
    """The models that gave the scores, each once; planners and writers are others."""
    stages = facts.manifest["stages"].items()
    return list(dict.fromkeys(s["asked_model"] for name, s in stages if name in _SCORING))


def steps(facts: Facts) -> str:
    """What was asked, of whom, and how."""
    told = _STEPS[facts.kind]
    if "rewrites" in facts.manifest["stages"]:
        told = (_REWRITING, *told)
    lines = [f"{i}. {step}" for i, step in enumerate(told, start=1)]
    rows = (
        (
            code(name),
            code(stage["asked_model"]),
            code(stage.get("revision")),
            code(stage["prompt_id"]),
            code(stage["schema_id"]),
            text(_sampling(stage["sampling"])),
        )
        for name, stage in facts.manifest["stages"].items()
    )
    head = ("stage", "model", "revision", "prompt", "schema", "sampling")
    parts = ["\n".join(lines), _REPLIES, table(head, rows), _texts(facts)]
    return "\n\n".join(parts)


_REPLIES = (
    "Every score was given by a model. A reply that is cut short, refused or not what its schema "
    "demands is asked for again and then rejected with its reason, never turned into a number."
)


def _sampling(sampling: Mapping[str, Any]) -> str:
    parts = [f"temperature {sampling['temperature']:g}", f"top_p {sampling['top_p']:g}"]
    if sampling["votes"] > 1:
        parts.append(f"{sampling['votes']} votes, the majority is the score")
    parts.append(f"at most {sampling['max_tokens']} tokens")
    if sampling.get("seed") is not None:
        parts.append(f"seed {sampling['seed']}")
    return ", ".join(parts)


def _texts(facts: Facts) -> str:
    """Digests of all prompts and schemas; the files themselves stand beside the card."""
    digests: dict[str, str] = {}
    for stage in facts.manifest["stages"].values():
        for what in ("prompt", "schema"):
            digests[stage[f"{what}_sha256"]] = stage[f"{what}_id"]
        for what in ("system", "retry"):
            if stage.get(f"{what}_sha256"):
                digests[stage[f"{what}_sha256"]] = f"{what} text"
    paths = {digest: path for path, digest in facts.asked_with_digests.items()}
    rows = (
        (f"[{paths[d]}](asked_with/{paths[d]})" if d in paths else code(name), code(d))
        for d, name in digests.items()
    )
    return "The texts that were asked with:\n\n" + table(("file", "sha256"), rows)


def funnel(facts: Facts) -> str:
    """What became of every source row."""
    counts, law = facts.manifest["funnel"], facts.manifest["law"]
    rows = counts["rows"]
    head = ("source rows", "usable", "rejected", "duplicates of another")
    cells = [count(rows[name]) for name in ("total", "ok", "rejected", "duplicate")]
    if rows.get("rewritten"):
        head, cells = (*head, "of all: rewritten"), [*cells, count(rows["rewritten"])]
    parts = ["What came in:", table(head, [cells], numbers=len(head))]
    names = ("total", "ok", "rejected", "attempts", "prompt_tokens", "completion_tokens")
    answers = [
        (code(name), *(count(part[n]) for n in names))
        for name, part in counts.items()
        if name not in ("rows", "rejects")
    ]
    head = ("answers", "asked for", "usable", "rejected", "replies", "tokens read", "written")
    parts += ["What was asked about it:", table(head, answers, numbers=6)]
    reasons = [*_reasons("source rows", rows["reasons"]), *_reasons("dataset", counts["rejects"])]
    if reasons:
        head = ("rejected", "reason", "rows")
        parts += ["What was left out, and why:", table(head, reasons, numbers=1)]
    parts.append(
        f"No row is lost, by id: {count(law['source'])} source rows"
        + (" (an edit counts once an axis)" if facts.kind == "edit" else "")
        + f" = {count(law['dataset'])} in the dataset + {count(law['rejected'])} rejected + "
        f"{count(law['duplicates'])} duplicates."
    )
    return "\n\n".join(parts)


def _reasons(where: str, reasons: Mapping[str, int]) -> Iterable[tuple[str, str, str]]:
    return ((where, code(reason), count(n)) for reason, n in reasons.items())


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


_LEAKS = (
    "A leak cites what a trained judge will not see; the reply is asked for again, if it may be."
)


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


_EFFECTIVE = (
    "Rows of scores that were plentiful were left out, drawn by hash; none was repeated. Effective "
    "rows are what the rows are worth when they are weighted to the target instead (Kish)."
)


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


def licenses(facts: Facts) -> str:
    """Every source with its licence and rows."""
    rows = []
    for (source, name), n in facts.licenses.items():
        note = "non-commercial" if forbids_commerce(name) else "unknown" if is_unknown(name) else ""
        rows.append((text(source), code(name), note, count(n)))
    unknown = sum(n for (_, name), n in facts.licenses.items() if is_unknown(name))
    parts = [
        "Pictures and texts are under the licences of their sources, which stand in the column "
        "`license` row by row.",
        table(("source", "licence", "", "rows"), rows, numbers=1),
    ]
    if unknown:
        parts.append(
            f"**The licence of {count(unknown)} rows is not known.** Ask the owners of their "
            "source before you use them."
        )
    return "\n\n".join(parts)
