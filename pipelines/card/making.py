"""Sections of a dataset card about its making: what was asked, what became of rows, licences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.card.facts import Facts
from pipelines.card.licenses import forbids_commerce, is_unknown
from pipelines.card.markdown import code, count, table, text

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
_REPLIES = (
    "Every score was given by a model. A reply that is cut short, refused or not what its schema "
    "demands is asked for again and then rejected with its reason, never turned into a number."
)


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
