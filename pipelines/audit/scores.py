"""A person's scores read back from the file that the page saved, and laid beside the model's."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.dataset_reading import Dataset, read_groups
from pipelines.replies import SCORES

UNSURE = "unsure"
Key = tuple[str, str | None]


class ScoresRefused(Exception):
    """A file of scores that cannot be used; the message says what is wrong with which row."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One row that a person gave a score: theirs, the model's, and what it shares with others.

    `answer_id` is that of the model's score; `shared` is the prompt (gen) or the source picture's
    sha256 (edit).
    """

    answer_id: str
    axis: str | None
    person: int
    model: int
    shared: str


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A person's scores beside those of the present dataset.

    `gone`: rows with a score that the dataset no longer has. `sizes`: all rows of the dataset, by
    axis and model's score.
    """

    rows: list[Scored] = field(default_factory=list)
    unsure: int = 0
    unanswered: int = 0
    gone: list[Key] = field(default_factory=list)
    sizes: dict[tuple[str | None, int], int] = field(default_factory=dict)


def sample_path(build: Path, audit: str) -> Path:
    """Where the sample of an audit is kept."""
    return build / "audit" / f"sample-{audit}.json"


def read_scores(build: Path, file: Path) -> tuple[dict[Key, int | str], dict[str, Any]]:
    """The answers in a file of scores by row id and axis, and the sample that it is about.

    Raises ScoresRefused: no such file, of no audit of this build, an unknown or doubled row, or a
    value that is neither 1 to 5 nor "unsure".
    """
    try:
        value = json.loads(file.read_text("utf-8"))
        audit, entries = value["audit"], list(value["scores"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ScoresRefused(f"{file}: not a file of scores ({error!r})") from error
    sample = _read_sample(build, str(audit), file)
    known = {(row["row_id"], row["axis"]) for row in sample["rows"]}
    answers: dict[Key, int | str] = {}
    for i, entry in enumerate(entries):
        try:
            key, score = (entry["row_id"], entry["axis"]), entry["score"]
            fault = None
            if key not in known:
                fault = f"audit {audit} has no such row"
            elif key in answers:
                fault = "stands twice"
            elif score != UNSURE and (type(score) is not int or score not in SCORES):
                fault = f"score {score!r} is neither 1 to 5 nor '{UNSURE}'"
        except (KeyError, TypeError) as error:
            raise ScoresRefused(
                f"{file}: scores[{i}] lacks row_id, axis or score ({error!r})"
            ) from error
        if fault:
            row = "/".join(str(part) for part in key if part)
            raise ScoresRefused(f"{file}: scores[{i}], row {row}: {fault}")
        answers[key] = score
    return answers, sample


def _read_sample(build: Path, audit: str, file: Path) -> dict[str, Any]:
    found = {
        path.stem.removeprefix("sample-"): path
        for path in sample_path(build, "*").parent.glob("sample-*.json")
    }
    if audit not in found:
        had = ", ".join(sorted(found)) or "none"
        raise ScoresRefused(
            f"{file}: is of audit {audit[:40]!r}, and {build} has {had}; give the build that the "
            "page was made from"
        )
    try:
        sample = json.loads(found[audit].read_text("utf-8"))
        # What is used of it; a file cut short or edited is told here.
        rows = [{"row_id": row["row_id"], "axis": row["axis"]} for row in sample["rows"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ScoresRefused(
            f"{found[audit]}: damaged ({error!r}); make the page again with the --rows and --seed "
            "that it had: the same dataset gives the same sample"
        ) from error
    return {"audit": audit, "rows": rows}


def compare(dataset: Dataset, answers: dict[Key, int | str], sample: dict[str, Any]) -> Compared:
    """Look up every answered row in the dataset as it is now, in one pass."""
    shared = "prompt" if dataset.kind == "gen" else "source_image_sha256"
    rows: list[Scored] = []
    sizes: Counter[tuple[str | None, int]] = Counter()
    left = {key: score for key, score in answers.items() if score != UNSURE}
    columns = ["row_id", "axis", "score", "answer_id", shared]
    for _, _, found in read_groups(dataset.paths, columns):
        for row in found:
            axis = row.get("axis")
            sizes[axis, row["score"]] += 1
            person = left.pop((row["row_id"], axis), None)
            if isinstance(person, int):
                rows.append(
                    Scored(
                        answer_id=row["answer_id"],
                        axis=axis,
                        person=person,
                        model=row["score"],
                        shared=row[shared],
                    )
                )
    return Compared(
        rows=rows,
        unsure=sum(score == UNSURE for score in answers.values()),
        unanswered=len(sample["rows"]) - len(answers),
        gone=list(left),
        sizes=dict(sizes),
    )
