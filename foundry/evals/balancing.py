"""Whether rewritten instructions fill scarce scores: a skewed build, balanced, beside the truth.

Edits of which 80% do just what they should, rewritten and judged by a real model, balanced to equal
shares of the execution scores. A rewritten instruction is read back (foundry.shapeworld), so that
its truth is known as well.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from foundry.evals.metrics import mae
from foundry.evals.stages import run_teacher
from foundry.shapeworld.edits import Edit, misleads
from foundry.shapeworld.instructions import UnreadInstruction, read_demands, requests_of
from foundry.shapeworld.make import write_world
from foundry.shapeworld.rows import MEASURED_BY_BALANCE, read_scene, truth_of_edit
from pipelines.balance import effective_size, quotas
from pipelines.connecting import Servers
from pipelines.dataset import write_dataset
from pipelines.dataset_settings import Balance
from pipelines.gates.contamination import read_benchmarks
from pipelines.gen_flow import Outcome
from pipelines.recipe import EditRecipe
from pipelines.rendering import AXES
from pipelines.replies import SCORES
from pipelines.stages import edit_stages

_AXIS = "execution"
_FIVES = 0.8
_UNIFORM = (0.2,) * len(SCORES)
# Rewritten rows by kind, all of them, aimed at the scores 1 to 4 alike.
PER_ROW = {
    "other_attribute": 0.6,
    "extra_demand": 0.4,
    "opposite_action": 0.2,
    "other_object": 0.2,
}
_OF_BALANCE = ("kept_share", "largest_deviation", "effective_before", "effective_after")
# So many times the rows are drawn at first, to have enough that score 5.
_DRAWN = 6


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """One row on one axis: the kind of its rewriting (None: as it came), whether its instruction
    can be read, its true score (None where that is not known), the judge's, whether it was kept.
    """

    axis: str
    kind: str | None
    read: bool
    true: int | None
    score: int | None
    kept: bool


def run_balance(
    folder: Path,
    *,
    rows: int,
    endpoint: dict[str, Any],
    servers: Servers,
    say: Callable[[str], None],
) -> tuple[list[Rewritten], list[dict[str, Any]]]:
    """Draw, rewrite, judge and balance. Returns every row on every axis, and the build's own
    account of the balance (`pipelines.balance.Balanced` as dicts).

    `rows` are source rows, at least 20. Raises as `run_teacher`.
    """
    world = folder / f"world-balance-{rows}"
    truth = _skewed_world(world, rows)
    recipe = EditRecipe.model_validate(
        {
            "output": str(folder / "balance"),
            "sources": [{"kind": "jsonl", "path": str(world / "skewed.jsonl")}],
            "endpoints": {"judge": endpoint},
            "buckets": 1,
            "shard_rows": 20_000,
            "reject_share": 1.0,
            "control_share": 0.0,
            # An instruction drawn, not the likeliest: that would often be the same one.
            "rewrites": {"per_row": PER_ROW, "temperature": 1.0},
            "balance": {"targets": {_AXIS: "uniform"}},
        }
    )
    outcomes = run_teacher(recipe, servers=servers, say=say, title="rewritten rows")
    written = write_dataset(
        Path(recipe.output),
        recipe,
        edit_stages(recipe),
        benchmarks=read_benchmarks(recipe.gates.benchmarks),
        n_buckets=1,
    )
    kept = {
        (row["row_id"], row["axis"])
        for path in sorted(Path(recipe.output, "dataset").glob("*.parquet"))
        for row in pq.read_table(path, columns=["row_id", "axis"]).to_pylist()
    }
    return [_judged(outcome, truth, kept) for outcome in outcomes], written.balance


def _skewed_world(world: Path, rows: int) -> dict[str, dict[str, Any]]:
    """Write `skewed.jsonl` of so many rows, `_FIVES` of them edits that do just what they should.

    Returns the truth by row id.
    """
    others = round(rows * (1 - _FIVES) / (len(SCORES) - 1))
    wanted = dict.fromkeys(SCORES, others) | {5: rows - others * (len(SCORES) - 1)}
    truth: dict[str, dict[str, Any]] = {}
    chosen: list[str] = []
    drawn = rows * _DRAWN
    while len(chosen) < rows:
        write_world("edit", drawn, MEASURED_BY_BALANCE, world)
        truth = {row["id"]: row for row in pq.read_table(world / "truth.parquet").to_pylist()}
        left = Counter(wanted)
        chosen = []
        for line in (world / "rows.jsonl").read_text("utf-8").splitlines():
            score = truth[json.loads(line)["id"]][_AXIS]
            if left[score]:
                left[score] -= 1
                chosen.append(line)
        drawn *= 2
    (world / "skewed.jsonl").write_text("\n".join(chosen) + "\n", "utf-8")
    return truth


def _judged(outcome: Outcome, truth: dict[str, Any], kept: set[tuple[str, str]]) -> Rewritten:
    row, axis, score = outcome.row, str(outcome.axis), outcome.score
    known: dict[str, Any] | None = truth[row["source_id"]]
    read = True
    if row["rewrite"]:
        read = row.get("rewrites_id") is not None
        try:
            known = true_scores(truth[row["source_id"]], row["instruction"]) if read else None
        except UnreadInstruction:
            read, known = False, None
    return Rewritten(
        axis=axis,
        kind=row["rewrite"],
        read=read,
        true=known[axis] if known else None,
        score=score["score"] if score and score["status"] == "ok" else None,
        kept=(row["row_id"], axis) in kept,
    )


def true_scores(known: dict[str, Any], instruction: str) -> dict[str, int] | None:
    """The true scores of an edit, a row of `truth.parquet`, under another instruction.

    None where its words fit something that came up besides what they would be meant for. Raises
    UnreadInstruction.
    """
    source, edited = read_scene(known["source_scene"]), read_scene(known["edited_scene"])
    requests = requests_of(source, edited, read_demands(instruction))
    if misleads(source, edited, requests):
        return None
    return truth_of_edit(Edit(source=source, requests=requests, edited=edited))["scores"]


def measure_balance(
    judged: Sequence[Rewritten], balance: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Histograms and error, for the tables; zeros for a build of which no row came to balance.

    `counts` are rows of the execution scores 1 to 5; `without` is what balance could keep of the
    rows as they came; `kinds` has the rows by kind of rewriting, with the error on either axis.
    """
    on_axis = [one for one in judged if one.axis == _AXIS]
    before = [one for one in on_axis if one.kind is None]
    kept = [one for one in on_axis if one.kept]
    plain = _histogram(one.score for one in before)
    bounds = Balance()
    without = quotas(plain, _UNIFORM, tolerance=bounds.tolerance, least_kept=bounds.least_kept)
    own = balance[0] if balance else dict.fromkeys(_OF_BALANCE, 0.0)
    return {
        "counts": {
            "source rows, true": _histogram(one.true for one in before),
            "source rows, judged": plain,
            "with rewritten rows, judged": _histogram(one.score for one in on_axis),
            "kept, judged": _histogram(one.score for one in kept),
            "kept, true": _histogram(one.true for one in kept),
        },
        **{name: own[name] for name in _OF_BALANCE},
        "source_rows": len(before),
        "without": {
            "kept": sum(without),
            "kept_share": sum(without) / sum(plain) if sum(plain) else 0.0,
            "effective": effective_size(plain, _UNIFORM),
        },
        "kinds": [_of_kind(judged, kind) for kind in (None, *PER_ROW)],
    }


def _of_kind(judged: Sequence[Rewritten], kind: str | None) -> dict[str, Any]:
    some = [one for one in judged if one.kind == kind]
    on_axis = [one for one in some if one.axis == _AXIS]
    return {
        "kind": kind,
        "rows": len(on_axis),
        "read": sum(one.read for one in on_axis),
        "true": _histogram(one.true for one in on_axis),
        "judged": _histogram(one.score for one in on_axis),
        "mae": {axis: _error([one for one in some if one.axis == axis]) for axis in AXES},
    }


def _histogram(scores: Any) -> list[int]:
    counts = Counter(scores)
    return [counts[score] for score in SCORES]


def _error(some: Sequence[Rewritten]) -> float | None:
    pairs = [(one.true, one.score) for one in some if None not in (one.true, one.score)]
    return mae(*np.array(pairs, dtype=float).T) if pairs else None
