"""Faults planted in ShapeWorld rows and in the answers about them, for measuring the gates.

Each row has at most one. Faults of rows (duplicates, near duplicates, contamination, edits that
were not made) are planted before a judge is asked, faults of answers (leaks, contradictions, moved
scores, votes apart, degenerate text) in what it answered; those of difference reports are planted
by planted_reports.py. The sentences were written without sight of the gates' phrases.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from foundry.shapeworld.rows import Kind
from pipelines.answers import Row
from pipelines.gates.contradictions import implied_scores
from pipelines.gen_flow import Outcome
from pipelines.tables import write_answers
from pipelines.votes import settle_votes

# Of all rows, for each kind of fault.
SHARE = 0.03
# A report of changes, planted later, of an edit that is its source saved anew.
INVENTED = "invented report"
UNEDITED = "-unedited"
ROW_FAULTS = ("duplicate", "near duplicate", "contaminated text", "contaminated picture", INVENTED)
ANSWER_FAULTS = (
    "leak",
    "sounds like a leak",
    "praise scored 1",
    "damnation scored 5",
    "degenerate",
    "moved by 1",
    "moved by 2",
    "moved by 3",
    "votes apart",
)
_TEXT = {"gen": "prompt", "edit": "instruction"}
_PICTURE = {"gen": "image", "edit": "edited_image"}
TABLE = {"gen": "gen_scores", "edit": "edit_scores"}


def plant_in_rows(kind: Kind, world: Path) -> dict[str, str]:
    """Write `planted.jsonl` and `benchmark.jsonl` beside the rows of a world.

    Returns the fault of each faulty row by its id. A row that shares a contaminated prompt is
    contaminated as well. An edit that is its source saved anew is faulty once its report is
    invented.
    """
    rows = [json.loads(line) for line in (world / "rows.jsonl").read_text("utf-8").splitlines()]
    faults: dict[str, str] = {}
    by_prompt: dict[str, list[str]] = {}
    for row in rows:
        by_prompt.setdefault(row.get("prompt", ""), []).append(row["id"])
    further: list[Row] = []
    benchmark: list[dict[str, str]] = []
    # Two rows of one pair would share one report: one a source.
    unedited: set[str] = set()
    for row in rows:
        fault = _draw(row["id"], ROW_FAULTS)
        if fault == "duplicate":
            further.append({**row, "id": f"{row['id']}-again"})
            faults[further[-1]["id"]] = fault
        elif fault == "near duplicate":
            further.append(_near(kind, row, world))
            faults[further[-1]["id"]] = fault
        elif fault == "contaminated text" and kind == "gen":
            benchmark.append({"id": row["id"], "text": row["prompt"]})
            for sharing in by_prompt[row["prompt"]]:
                faults.setdefault(sharing, fault)
        elif fault == "contaminated picture":
            name = _recompress(world / row[_PICTURE[kind]], world, f"{row['id']}-benchmark", 0.97)
            benchmark.append({"id": row["id"], "picture": name})
            faults.setdefault(row["id"], fault)
        elif fault == INVENTED and kind == "edit" and row["source_image"] not in unedited:
            unedited.add(row["source_image"])
            row_id = f"{row['id']}{UNEDITED}"
            name = _recompress(world / row["source_image"], world, row_id, 1.0)
            further.append({**row, "id": row_id, "edited_image": name})
            faults[row_id] = fault
    for name, lines in (("planted", rows + further), ("benchmark", benchmark)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (world / f"{name}.jsonl").write_text(text, "utf-8")
    return faults


def _draw(name: str, faults: Sequence[str]) -> str | None:
    """The fault of a row by hash, None for most."""
    number = place(name, faults[0]) / SHARE
    return faults[int(number)] if number < len(faults) else None


def place(name: str, what: str) -> float:
    """A number from 0 up to 1 that is this name's for a purpose."""
    return int(sha256(f"{what}/{name}".encode()).hexdigest()[:8], 16) / 2**32


def _near(kind: Kind, row: Row, world: Path) -> Row:
    """The same row with its picture compressed anew and its text in another form."""
    picture, text = _PICTURE[kind], _TEXT[kind]
    name = _recompress(world / row[picture], world, f"{row['id']}-near", 1.0)
    return {**row, "id": f"{row['id']}-near", picture: name, text: row[text].rstrip(".") + " ."}


def _recompress(path: Path, world: Path, name: str, scale: float) -> str:
    buffer = BytesIO()
    with Image.open(path) as image:
        size = round(image.width * scale), round(image.height * scale)
        image.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=80)
    target = world / "planted" / f"{name}.jpg"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(buffer.getvalue())
    return str(target.relative_to(world))


def plant_in_answers(
    kind: Kind, build: Path, outcomes: Sequence[Outcome], faulty: Collection[str]
) -> dict[tuple[str, str | None], tuple[str, bool]]:
    """Put faults into the answers of bucket 0, but for those about rows that are faulty already.

    `faulty` holds source ids. Returns by source id and axis the fault, and whether it can be told
    from the row alone: a moved score only where it goes by two or more against verdicts that allow
    the score it was alone.
    """
    sentences = _Sentences()
    faults: dict[tuple[str, str | None], tuple[str, bool]] = {}
    changed: list[Row] = []
    for outcome in outcomes:
        score, source_id = outcome.score, outcome.row["source_id"]
        if score is None or score["status"] != "ok" or source_id in faulty:
            continue
        fault = _draw(f"{source_id}/{outcome.axis}", ANSWER_FAULTS)
        new = _faulty(fault, outcome.axis, score, sentences) if fault else None
        if fault is None or new is None:
            continue
        decidable = True
        if fault.startswith("moved"):
            decidable = kind == "gen" and fault != "moved by 1" and _alone_allowed(outcome)
        faults[source_id, outcome.axis] = fault, decidable
        changed.append({**score, **new})
    write_answers(build, TABLE[kind], 0, changed)
    return faults


def _alone_allowed(outcome: Outcome) -> bool:
    score = outcome.score or {}
    return implied_scores(outcome.upstream["items"], score["verdicts"]) == (
        score["score"],
        score["score"],
    )


class _Sentences:
    """The planted sentences, each list gone through in turn."""

    def __init__(self) -> None:
        text = (resources.files("foundry.evals") / "planted_sentences.json").read_text("utf-8")
        self._turns = {name: _forever(lines) for name, lines in json.loads(text).items()}

    def next(self, name: str) -> str:
        """The next sentence of a list."""
        return next(self._turns[name])


def _forever(lines: Sequence[str]) -> Iterator[str]:
    while True:
        yield from lines


def _faulty(
    fault: str, axis: str | None, score: Row, sentences: _Sentences
) -> dict[str, Any] | None:
    """What a fault changes in an answer; None where it cannot be planted."""
    about, given = axis or "gen", score["score"]
    world = "gen" if axis is None else "edit"
    match fault:
        case "leak":
            return {"reasoning": f"{score['reasoning']} {sentences.next(f'leak_{world}')}"}
        case "sounds like a leak":
            return {"reasoning": f"{score['reasoning']} {sentences.next(f'clean_{world}')}"}
        case "praise scored 1":
            return {"reasoning": sentences.next(f"praise_{about}"), "score": 1}
        case "damnation scored 5":
            return {"reasoning": sentences.next(f"damn_{about}"), "score": 5}
        case "degenerate":
            return {"reasoning": sentences.next("degenerate")}
        case "votes apart":
            # Three to two come to the score that was given where that is an end of the scale.
            vote = settle_votes([given] * 3 + [6 - given] * 2, [None] * 5)
            changed = {"vote_scores": vote.scores, "vote_spread": vote.spread}
            return changed if given in (1, 5) else None
    by = int(fault.rsplit(" ", 1)[1])
    to = given - by if given - by >= 1 else given + by
    return {"score": to} if to <= 5 else None
