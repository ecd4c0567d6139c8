"""A benchmark's rows through the production stages of a student: asked once, kept, resumed.

Every row is asked about twice, one greedy reply and one request for eight votes; or greedily alone.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from foundry.evals.bench import Item, Pair, Rows, wanted_axes
from foundry.evals.bench_files import BenchRefused
from foundry.evals.stages import benchmark_recipe, run_rollouts, run_student
from pipelines.answers import Row
from pipelines.connecting import Servers
from pipelines.identity import digest
from pipelines.rendering import GEN_AXIS
from pipelines.rows import read_rows
from pipelines.shards import write_bytes
from pipelines.student import AxesOf, StudentAnswer

VOTES = 8
AVERAGES = (1, 4, 8)
GREEDY, EXPECTED = "greedy", "expected"
MODES = (GREEDY, EXPECTED, *(f"avg@{k}" for k in AVERAGES))


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The two answers about a row on an axis, as their tables hold them.

    `sampled` is empty where no votes were asked for.
    """

    greedy: Row
    sampled: Row


Answers = dict[tuple[str, str], Scored]
# Score points by row id and axis, None for a failure, as each mode has them.
ByMode = dict[str, dict[tuple[str, str], float | None]]
# Columns of an answer that say what it is about.
_CONTENT = frozenset(
    {"prompt", "instruction", "image_sha256", "source_image_sha256", "edited_image_sha256"}
)


def ask(
    name: str,
    rows: Rows,
    measured: Sequence[Item | Pair],
    out: Path,
    *,
    endpoint: dict[str, Any],
    servers: Servers,
    say: Callable[[str], None],
    votes: bool = True,
) -> Answers:
    """Both answers about each row id and axis that something is measured on; one without `votes`.

    What `out` holds already is not asked again. Raises BenchRefused for a row whose picture or text
    cannot be used, before anything is asked; else as `run_student`.
    """
    sources = write_source(name, rows, out)
    recipe = benchmark_recipe(rows.kind, out / rows.kind, sources, endpoint, votes=1)
    common: dict[str, Any] = {"servers": servers, "say": say}
    common["plan"] = lambda ingested: _plan(ingested, rows, measured)
    greedy = run_student(recipe, title=f"{name}, greedy", **common)
    ingested = read_rows(Path(recipe.output), 0)
    sampled: dict[tuple[str, str], Row] = {}
    if votes:
        title = f"{name}, {VOTES} votes"
        sampled = _by_source(run_rollouts(recipe, votes=VOTES, title=title, **common), ingested)
    return {
        key: Scored(greedy=answer, sampled=sampled.get(key, {}))
        for key, answer in _by_source(greedy, ingested).items()
    }


def write_source(name: str, rows: Rows, out: Path) -> list[dict[str, Any]]:
    """Write the rows as a source that a recipe can name. Returns the recipe's `sources`."""
    path = out / f"{name}.jsonl"
    lines = [json.dumps({"id": row_id, **row}) for row_id, row in rows.by_id.items()]
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode())
    return [{"kind": "jsonl", "path": str(path), "image_root": os.sep}]


def refuse_rejected(ingested: Sequence[Row], rows: Rows) -> None:
    """Raises BenchRefused for a row whose picture or text cannot be used."""
    for row in ingested:
        if row["status"] == "rejected":
            raise BenchRefused(f"{rows.places[row['source_id']]}: {row['detail']}")


def _plan(ingested: Sequence[Row], rows: Rows, measured: Sequence[Item | Pair]) -> AxesOf:
    """The axes that each row is asked about, those of its duplicates among them."""
    refuse_rejected(ingested, rows)
    wanted = wanted_axes(measured)
    axes: dict[str, dict[str | None, None]] = {}
    for row in ingested:
        of_row = axes.setdefault(row["duplicate_of"] or row["row_id"], {})
        of_row.update(dict.fromkeys(wanted[row["source_id"]]))
    return lambda row: tuple(axes[row["row_id"]])


def _by_source(
    answers: Sequence[StudentAnswer], ingested: Sequence[Row]
) -> dict[tuple[str, str], Row]:
    """Answers by the benchmark's row ids; duplicates share theirs."""
    ids: dict[str, list[str]] = {}
    for row in ingested:
        ids.setdefault(row["duplicate_of"] or row["row_id"], []).append(row["source_id"])
    return {
        (source_id, answer.axis or GEN_AXIS): answer.score
        for answer in answers
        for source_id in ids[answer.row["row_id"]]
    }


def scores_by_mode(answers: Answers) -> ByMode:
    """What each mode makes of the answers, in score points, by row id and axis.

    None for a reply that could not be used, or k votes none of which could. `expected` has no entry
    for a reply that came without label probabilities, and none at all where no reply has them;
    means of votes are not there where none were asked for.
    """
    voted = any(answer.sampled for answer in answers.values())
    found: ByMode = {mode: {} for mode in (MODES if voted else (GREEDY, EXPECTED))}
    has_probs = any(answer.greedy.get("score_expected") is not None for answer in answers.values())
    for key, answer in answers.items():
        greedy, votes = answer.greedy, votes_of(answer) if voted else []
        ok = greedy["status"] == "ok"
        found[GREEDY][key] = float(greedy["score"]) if ok else None
        if has_probs and not (ok and greedy["score_expected"] is None):
            found[EXPECTED][key] = greedy["score_expected"] if ok else None
        for k in AVERAGES if voted else ():
            found[f"avg@{k}"][key] = mean_of(votes[:k])
    return found


def votes_of(answer: Scored) -> list[int | None]:
    """The scores of all votes in the order of the reply, None for one that could not be used."""
    return [vote["score"] for vote in _votes(answer.sampled)]


def mean_of(votes: Sequence[int | None]) -> float | None:
    """The mean of the votes that could be used, None where none could.

    Nothing takes the place of the others. Replies to one request are drawn alike, so the mean of
    those that say something estimates the same, whichever of the k they are.
    """
    usable = [vote for vote in votes if vote is not None]
    return fmean(usable) if usable else None


def _votes(sampled: Row) -> list[Row]:
    """Each vote with a `score` or a `reason`; those of a request that was refused have its own."""
    refused = {"score": None, "reason": sampled["reason"]}
    return sampled.get("rollouts") or [refused] * VOTES


def content_of(answers: Answers, *asked: tuple[str, str]) -> str:
    """A short digest of the pictures and texts that rows were scored on."""
    seen = [
        [value for name, value in sorted(answers[key].greedy.items()) if name in _CONTENT]
        for key in asked
    ]
    return digest(seen)[:16]


def failures(answers: Answers) -> dict[str, Any]:
    """How many answers have no score, by the reason of the last reply, and were asked for again.

    An answer that several rows of the benchmark share is one. Each vote is an answer of its own,
    and none of them is asked for again.
    """
    greedy = {one.greedy["answer_id"]: one.greedy for one in answers.values()}
    sampled = {one.sampled["answer_id"]: one.sampled for one in answers.values() if one.sampled}
    votes = [
        {"reason": vote["reason"], "faults": [vote["reason"]] if vote["reason"] else []}
        for row in sampled.values()
        for vote in _votes(row)
    ]
    return failures_of({"greedy": list(greedy.values()), **({"votes": votes} if votes else {})})


def failures_of(replies: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """The same of any answers, by what they are called."""
    found: dict[str, Any] = {}
    for name, rows in replies.items():
        reasons = Counter(row["reason"] for row in rows if row["reason"])
        found[name] = {
            "answers": len(rows),
            "without_score": sum(reasons.values()),
            "reasons": dict(sorted(reasons.items())),
            "first_reply_unusable": sum(bool(row["faults"]) for row in rows),
        }
    return found
