"""Rows as the page holds them: plain values, and what many rows share said once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.build import PICTURES, Kind
from pipelines.dataset_rows import SCORE_TABLES, UPSTREAM

Row = Mapping[str, Any]
Intern = Callable[[Any], int]

LONGEST_TEXT = 6_000
_ASKED = (
    "model",
    "asked_model",
    "revision",
    "prompt_id",
    "prompt_sha256",
    "system_sha256",
    "retry_sha256",
    "schema_id",
    "schema_sha256",
    "sampling",
    "package_version",
    "git_commit",
)
_COST = (
    *("attempts", "faults", "finish_reason", "prompt_tokens", "completion_tokens"),
    *("took_s", "answered_at"),
)
_ABOUT = ("row_id", "axis", "source_id", "source_index", "metadata", "parent_id", "rewrite")
_SCORED = ("score", "score_expected", "vote_scores", "vote_spread", "reasoning")
_REJECTED = ("stage", "reason", "detail", "attempts", "faults", "answer_id")
_RESTS_ON: Mapping[Kind, tuple[str, ...]] = {
    "gen": ("checklist",),
    "edit": ("obvious", "detailed"),
}
# Where a row is rejected that has a score.
SCORED_STAGES = ("gates", "balance", "dataset")


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answer that a row ended with, of which table it is, and the one that it rests on."""

    table: str
    last: Row
    earlier: Row | None


def make_intern() -> tuple[Intern, list[Any]]:
    """A function that gives equal values one number, and the list that the numbers lead into."""
    values: list[Any] = []
    known: dict[str, int] = {}

    def intern(value: Any) -> int:
        key = json.dumps(value, sort_keys=True)
        if key not in known:
            known[key] = len(values)
            values.append(value)
        return known[key]

    return intern, values


def picture_name(sha256: str) -> str:
    """What a picture is called in the page."""
    return sha256[:20]


def kept_record(row: Row, kind: Kind, intern: Intern) -> dict[str, Any]:
    """A row of `dataset/` without its pictures."""
    upstream = UPSTREAM[kind]
    return {
        "kept": True,
        **_some(row, (*_ABOUT, "notes")),
        **_written(row),
        "split": row.get("split"),
        "text": row["prompt" if kind == "gen" else "instruction"],
        "from": intern(_some(row, ("source", "license"))),
        "upstream": intern(_some(row, _RESTS_ON[kind])),
        "pictures": {n: picture_name(row[f"{n}_sha256"]) for n in PICTURES[kind]},
        "sha256": {n: row[f"{n}_sha256"] for n in PICTURES[kind]},
        "answers": [
            _answer(SCORE_TABLES[kind], row, intern),
            _answer(upstream, row, intern, prefix=f"{upstream}_"),
        ],
    }


def reject_record(
    row: Row, about: Row | None, answers: Answers | None, kind: Kind, intern: Intern
) -> dict[str, Any]:
    """A row of `rejects/`; `about` is what `rows/` still knows of it, and `answers` what the tables
    do. Without those a row that had a score is left with the reasoning and score in its reject.
    """
    about, raw = about or {}, row.get("raw_reply")
    pictures = {n: about[n] for n in PICTURES[kind] if (about.get(n) or {}).get("sha256")}
    record = {
        "kept": False,
        **_some(row, (*_ABOUT, *_REJECTED)),
        "notes": about.get("notes"),
        "split": about.get("split"),
        "text": row.get("prompt" if kind == "gen" else "instruction"),
        "from": intern({"source": row.get("source"), "license": about.get("license")}),
        "pictures": {n: picture_name(p["sha256"]) for n, p in pictures.items()},
        "sha256": {n: p["sha256"] for n, p in pictures.items()},
        "score": None,
        "answers": [],
    }
    if answers is not None:
        record |= _written(answers.last)
        record["answers"].append(_answer(answers.table, answers.last, intern))
        if (earlier := answers.earlier) is not None:
            record["answers"].append(_answer(UPSTREAM[kind], earlier, intern))
            # `dataset/` has the items of a checklist under another name.
            told = {**earlier, "checklist": earlier.get("items")}
            record["upstream"] = intern(_some(told, _RESTS_ON[kind]))
    elif row["stage"] in SCORED_STAGES:
        record |= _some(_parsed(raw), ("score", "reasoning"))
    if record["score"] is None:
        record["raw_reply"] = None if raw is None else raw[:LONGEST_TEXT]
        record["raw_reply_length"] = None if raw is None else len(raw)
    return record


def _written(row: Row) -> dict[str, Any]:
    """What a judge wrote, and how sure it was; None of an answer that cannot be used."""
    probs = row.get("score_probs")
    return {
        **_some(row, _SCORED),
        "probs": [round(p, 4) for p in probs] if probs else None,
        "verdicts": row.get("verdicts"),
    }


def _answer(table: str, row: Row, intern: Intern, *, prefix: str = "") -> dict[str, Any]:
    """How an answer came about: the columns of `row` that begin with `prefix`."""
    told = {n: row.get(f"{prefix}{n}") for n in ("answer_id", *_ASKED, *_COST)}
    asked = intern({n: told.pop(n) for n in _ASKED})
    return {"table": table, "asked": asked, **_some(told, tuple(told))}


def _some(row: Row, names: tuple[str, ...]) -> dict[str, Any]:
    found = {name: row.get(name) for name in names}
    return {
        name: value[:LONGEST_TEXT] if isinstance(value, str) else value
        for name, value in found.items()
    }


def _parsed(raw: str | None) -> dict[str, Any]:
    """The reasoning and score that `rejects/` has as JSON of a row with a score; else nothing."""
    try:
        said = json.loads(raw or "")
    except ValueError:
        return {}
    return said if isinstance(said, dict) and isinstance(said.get("score"), int) else {}
