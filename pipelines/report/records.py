"""Rows as the page holds them: plain values, and what many rows share said once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pipelines.build import PICTURES, Kind
from pipelines.dataset_rows import UPSTREAM

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
_COST = ("attempts", "faults", "finish_reason", "prompt_tokens", "completion_tokens", "took_s")
_ABOUT = ("row_id", "axis", "source_id", "source_index", "metadata", "parent_id", "rewrite")
_SCORED = ("score", "score_expected", "vote_scores", "vote_spread", "reasoning", "notes")
_REJECTED = ("stage", "reason", "detail", "attempts", "faults", "answer_id")


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
    names = ("checklist",) if kind == "gen" else ("obvious", "detailed")
    probs = row.get("score_probs")
    return {
        "kept": True,
        **_some(row, (*_ABOUT, *_SCORED)),
        "split": row.get("split"),
        "text": row["prompt" if kind == "gen" else "instruction"],
        "from": intern(_some(row, ("source", "license"))),
        "probs": [round(p, 4) for p in probs] if probs else None,
        "verdicts": row.get("verdicts"),
        "upstream": intern(_some(row, names)),
        "pictures": {n: picture_name(row[f"{n}_sha256"]) for n in PICTURES[kind]},
        "sha256": {n: row[f"{n}_sha256"] for n in PICTURES[kind]},
        "answers": [
            {
                "table": "scores",
                "answer_id": row["answer_id"],
                "asked": intern(_some(row, _ASKED)),
                **_some(row, (*_COST, "answered_at")),
            },
            {
                "table": upstream,
                "answer_id": row[f"{upstream}_answer_id"],
                "asked": intern({n: row.get(f"{upstream}_{n}") for n in _ASKED}),
                **{n: row.get(f"{upstream}_{n}") for n in (*_COST, "answered_at")},
            },
        ],
    }


def reject_record(row: Row, about: Row | None, kind: Kind, intern: Intern) -> dict[str, Any]:
    """A row of `rejects/`; `about` is what `rows/` still knows of it."""
    about = about or {}
    raw = row.get("raw_reply")
    pictures = {n: about[n] for n in PICTURES[kind] if (about.get(n) or {}).get("sha256")}
    return {
        "kept": False,
        **_some(row, (*_ABOUT, *_REJECTED)),
        "split": about.get("split"),
        "text": row.get("prompt" if kind == "gen" else "instruction"),
        "from": intern({"source": row.get("source"), "license": about.get("license")}),
        "score": _score_in(raw) if row["stage"] in ("gates", "balance") else None,
        "raw_reply": None if raw is None else raw[:LONGEST_TEXT],
        "raw_reply_length": None if raw is None else len(raw),
        "pictures": {n: picture_name(p["sha256"]) for n, p in pictures.items()},
        "sha256": {n: p["sha256"] for n, p in pictures.items()},
    }


def _some(row: Row, names: tuple[str, ...]) -> dict[str, Any]:
    found = {name: row.get(name) for name in names}
    return {
        name: value[:LONGEST_TEXT] if isinstance(value, str) else value
        for name, value in found.items()
    }


def _score_in(raw: str | None) -> int | None:
    """The score of a row that a gate rejected: its raw reply is the judge's reasoning and score."""
    try:
        score = json.loads(raw or "")["score"]
    except (ValueError, KeyError, TypeError):
        return None
    return score if isinstance(score, int) else None
