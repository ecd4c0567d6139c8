"""The rows of `preferences/`, `hard/` and `unpaired/`.

The first two are conversations in TRL's preference format: `prompt`, `chosen`, `rejected` and
`images`, which its collator puts before the text of the user's turn, as serving does.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.answers import Row
from pipelines.build import PICTURES
from pipelines.dataset_reading import DatasetUnreadable
from pipelines.dataset_rows import IMAGE
from pipelines.export.conversations import student_reply
from pipelines.preferences.mining import Comparison, Mined
from pipelines.preferences.rollouts import usable_rollouts
from pipelines.preferences.rules import Pair, Rollout
from pipelines.rendering import SYSTEM_PROMPT, student_prompt
from pipelines.tables import ROLLOUTS
from prompts import load_prompt

_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_ABOUT = (
    ("row_id", pa.string()),
    ("axis", pa.string()),
    ("split", pa.string()),
    # Not `label`, which TRL takes for a column of its own.
    ("label_score", pa.int64()),
)
_LABEL = (
    ("label_answer_id", pa.string()),
    ("label_model", pa.string()),
    ("label_revision", pa.string()),
    ("license", pa.string()),
)
_PROVENANCE = (
    ("answer_id", pa.string()),
    ("model", pa.string()),
    ("revision", pa.string()),
    ("prompt_id", pa.string()),
    ("prompt_sha256", pa.string()),
)
_SIDE = (("score", pa.int64()), ("rollout", pa.int64()), *_PROVENANCE)
UNPAIRED_SCHEMA = pa.schema(
    [
        *_ABOUT,
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("raw_reply", pa.string()),
        ("answer_id", pa.string()),
    ]
)


def pair_schema() -> pa.Schema:
    """Arrow schema of `preferences/`, with the `datasets` features in its metadata."""
    sides = [(f"{side}_{name}", t) for side in ("chosen", "rejected") for name, t in _SIDE]
    judged = [("comparison_ids", pa.list_(pa.string())), ("comparison_model", pa.string())]
    turns = [(name, _TURNS) for name in ("prompt", "chosen", "rejected")]
    return _with_images([*turns, *_ABOUT, ("kind", pa.string()), *sides, *judged, *_LABEL])


def hard_schema() -> pa.Schema:
    """Arrow schema of `hard/`: the conversation's beginning, and what the student said."""
    return _with_images([("prompt", _TURNS), *_ABOUT, ROLLOUTS, *_PROVENANCE, *_LABEL])


def _with_images(columns: Sequence[tuple[str, pa.DataType]]) -> pa.Schema:
    from datasets import Features, Image, List

    features = Features({**Features.from_arrow_schema(pa.schema(columns)), "images": List(Image())})
    schema = pa.schema([*columns, ("images", pa.list_(IMAGE))])
    return schema.with_metadata(features.arrow_schema.metadata)


def pair_row(mined: Mined, pair: Pair) -> Row:
    """A row of `preferences/`, without its pictures."""
    answer = mined.answer or {}
    row = {
        **_about(mined),
        "kind": pair.kind,
        "chosen": _reply(mined, pair.chosen),
        "rejected": _reply(mined, pair.rejected),
        "comparison_ids": None,
        "comparison_model": None,
    }
    for side, rollout in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        row |= {f"{side}_{name}": answer[name] for name, _ in _PROVENANCE}
        row |= {f"{side}_score": rollout.score, f"{side}_rollout": rollout.index}
    if comparison := _comparison_of(mined, pair):
        row["comparison_ids"] = [found["answer_id"] for found in comparison.answers]
        row["comparison_model"] = comparison.answers[0]["model"]
    return row


def hard_row(mined: Mined) -> Row:
    """A row of `hard/`, without its pictures."""
    answer = mined.answer or {}
    names = ("rollouts", *(name for name, _ in _PROVENANCE))
    return {**_about(mined), **{name: answer[name] for name in names}}


def unpaired_row(mined: Mined, reason: str, detail: str | None) -> Row:
    """A row of `unpaired/`; `detail` left out is the answer's, or the scores of the rollouts."""
    answer = mined.answer or {}
    if detail is None and answer.get("status") == "ok":
        said = ", ".join(str(rollout.score) for rollout in usable_rollouts(answer))
        detail = f"the rollouts score {said}"
    row = {name: mined.row[name] for name, _ in _ABOUT}
    found = {name: answer.get(name) for name in ("raw_reply", "answer_id")}
    return {**row, **found, "reason": reason, "detail": detail or answer.get("detail")}


def picture_cells(row: Row) -> list[dict[str, Any]]:
    """The pictures of a labelled row as cells of `images`, in order of showing.

    Raises DatasetUnreadable for a file that is gone or is not the one that was shown.
    """
    cells = []
    for name in PICTURES["gen" if row["axis"] is None else "edit"]:
        path = Path(row[name]["seen_path"])
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DatasetUnreadable(f"{path}: {error.strerror}; run again to go on") from error
        if sha256(data).hexdigest() != row[name]["seen_sha256"]:
            raise DatasetUnreadable(f"{path}: not what its name says; delete it and run again")
        cells.append({"bytes": data, "path": path.name})
    return cells


def _about(mined: Mined) -> Row:
    """The columns that pairs and hard cases share: the prompt, the row and its label."""
    row = mined.row
    _, text = student_prompt(row, row["axis"])
    system = load_prompt(SYSTEM_PROMPT).text
    turns = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    return {"prompt": turns, **{name: row[name] for name, _ in (*_ABOUT, *_LABEL)}}


def _reply(mined: Mined, rollout: Rollout) -> list[dict[str, str]]:
    """A rollout as the turn that SFT teaches: compact JSON in the schema's order."""
    said = {"row_id": mined.row["row_id"], "reasoning": rollout.reasoning, "score": rollout.score}
    schema_id = (mined.answer or {})["schema_id"]
    return [{"role": "assistant", "content": student_reply(said, schema_id)}]


def _comparison_of(mined: Mined, pair: Pair) -> Comparison | None:
    return next((c for c in mined.comparisons if c.outcome is pair), None)
