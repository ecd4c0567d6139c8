"""How good the gates are: ShapeWorld rows with planted faults, through the real factory.

Rows whose truth is known, faults at known rates (planting.py), a real judge, and the gates as they
are by default, but that votes may not spread as they like. What is measured: which faults are
found, what is rejected without one, and how near the kept scores are to the truth.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from foundry.evals.metrics import mae
from foundry.evals.planted_reports import (
    AGAINST_PIXELS,
    AGAINST_SCORE,
    Planted,
    plant_in_reports,
)
from foundry.evals.planting import INVENTED, UNEDITED, plant_in_answers, plant_in_rows
from foundry.evals.stages import AnyRecipe, run_teacher
from foundry.shapeworld.edits import Edit
from foundry.shapeworld.instructions import read_demands, requests_of
from foundry.shapeworld.make import write_world
from foundry.shapeworld.rows import MEASURED_BY_QUALITY, Kind, read_scene, truth_of_edit
from pipelines.connecting import Servers
from pipelines.dataset import write_dataset
from pipelines.gates.contamination import read_benchmarks
from pipelines.recipe import EditRecipe, GenRecipe
from pipelines.rendering import AXES
from pipelines.rows import read_rows
from pipelines.stages import edit_stages, gen_stages

# The gate that is there for a fault; None: the fault is no fault, and no gate should object.
GATE_OF = {
    "duplicate": "duplicate",
    "near duplicate": "gate:duplicate",
    "contaminated text": "gate:contamination",
    "contaminated picture": "gate:contamination",
    "leak": "gate:leak",
    "sounds like a leak": None,
    "praise scored 1": "gate:contradiction",
    "damnation scored 5": "gate:contradiction",
    "degenerate": "gate:degenerate",
    "moved by 1": "gate:contradiction",
    "moved by 2": "gate:contradiction",
    "moved by 3": "gate:contradiction",
    "votes apart": "gate:agreement",
    AGAINST_SCORE: "gate:contradiction",
    AGAINST_PIXELS: "gate:grounding",
    INVENTED: "gate:grounding",
}
MOST_VOTE_SPREAD = 1.5


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One row on one axis: its planted fault or None, whether that can be told from the row alone,
    what rejected it or None, its true score, and the one it had when it came to the gates.
    """

    kind: Kind
    axis: str | None
    fault: str | None
    decidable: bool
    reason: str | None
    true: int
    score: int | None


def run_quality(
    folder: Path,
    *,
    rows: int,
    endpoint: dict[str, Any],
    servers: Servers,
    say: Callable[[str], None],
) -> list[Judged]:
    """Draw rows, plant faults, ask, plant faults in the answers, and write the dataset.

    `rows` are source rows before planting, half of them edits. Raises as `run_teacher`.
    """
    judged: list[Judged] = []
    for kind in ("gen", "edit"):
        judged += _one_kind(kind, folder, rows // 2, endpoint, servers, say)
    return judged


def _one_kind(
    kind: Kind,
    folder: Path,
    rows: int,
    endpoint: dict[str, Any],
    servers: Servers,
    say: Callable[[str], None],
) -> list[Judged]:
    world = folder / f"world-{kind}-{rows}"
    write_world(kind, rows, MEASURED_BY_QUALITY, world)
    in_rows = plant_in_rows(kind, world)
    recipe = _recipe(kind, folder, world, endpoint)
    outcomes = run_teacher(recipe, servers=servers, say=say, title=f"{kind} rows")
    # What was answered stays as it is, so that a second run plants nothing in planted answers.
    build = folder / f"{kind}-planted"
    shutil.rmtree(build, ignore_errors=True)
    shutil.copytree(recipe.output, build)
    in_answers: Planted = plant_in_reports(build, outcomes, in_rows) if kind == "edit" else {}
    faulty = in_rows.keys() | {source_id for source_id, _ in in_answers}
    in_answers |= plant_in_answers(kind, build, outcomes, faulty)
    stages = gen_stages(recipe) if isinstance(recipe, GenRecipe) else edit_stages(recipe)
    write_dataset(
        build, recipe, stages, benchmarks=read_benchmarks(recipe.gates.benchmarks), n_buckets=1
    )
    truth = {row["id"]: row for row in pq.read_table(world / "truth.parquet").to_pylist()}
    rows_of = {row["source_id"]: row for row in read_rows(build, 0)}
    became = _what_became(build)
    judged = []
    for source_id, row in rows_of.items():
        original = source_id.removesuffix("-again").removesuffix("-near").removesuffix(UNEDITED)
        true = truth[original]
        if source_id.endswith(UNEDITED):
            true = _if_not_edited(true, row["instruction"])
        for axis in AXES if kind == "edit" else (None,):
            in_row = in_rows.get(source_id), True
            fault, decidable = in_answers.get((source_id, axis), in_row)
            reason, score = became.get((row["row_id"], axis), (row["reason"], None))
            if fault == "near duplicate":
                twin = became.get((rows_of[original]["row_id"], axis))
                # Nearly the same row with another score, or one that no longer stands, is none.
                decidable = twin == (None, score)
            judged.append(
                Judged(
                    kind=kind,
                    axis=axis,
                    fault=fault,
                    decidable=decidable,
                    reason=reason,
                    true=true[axis or "score"],
                    score=score,
                )
            )
    return judged


def _if_not_edited(known: dict[str, Any], instruction: str) -> dict[str, int]:
    """The true scores of a row of `truth.parquet` if its edit had not been made."""
    source = read_scene(known["source_scene"])
    requests = requests_of(source, source, read_demands(instruction))
    return truth_of_edit(Edit(source=source, requests=requests, edited=source))["scores"]


def _recipe(kind: Kind, folder: Path, world: Path, endpoint: dict[str, Any]) -> AnyRecipe:
    columns = {"prompt": "text"} if kind == "gen" else {}
    columns |= {("image" if kind == "gen" else "edited_image"): "picture"}
    benchmark = {"kind": "jsonl", "path": str(world / "benchmark.jsonl"), "columns": columns}
    common = {
        "output": str(folder / kind),
        "sources": [{"kind": "jsonl", "path": str(world / "planted.jsonl")}],
        "buckets": 1,
        "shard_rows": 20_000,
        "reject_share": 1.0,
        "control_share": 0.0,
        "gates": {"benchmarks": [benchmark], "most_vote_spread": MOST_VOTE_SPREAD},
    }
    if kind == "edit":
        return EditRecipe.model_validate(common | {"endpoints": {"judge": endpoint}})
    roles = {"planner": endpoint, "judge": endpoint}
    return GenRecipe.model_validate(common | {"endpoints": roles})


def _what_became(build: Path) -> dict[tuple[str, str | None], tuple[str | None, int | None]]:
    """Reason (None: kept) and score (None: it never had one) of each row and axis that ended."""
    found: dict[tuple[str, str | None], tuple[str | None, int | None]] = {}
    names = ["row_id", "axis", "score"]
    for path in sorted((build / "dataset").glob("*.parquet")):
        has = [name for name in names if name in pq.read_schema(path).names]
        for row in pq.read_table(path, columns=has).to_pylist():
            found[row["row_id"], row.get("axis")] = None, row["score"]
    for path in sorted((build / "rejects").glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            gated = row["reason"].startswith("gate:")
            score = json.loads(row["raw_reply"])["score"] if gated else None
            found[row["row_id"], row["axis"]] = row["reason"], score
    return found


def measure(judged: list[Judged]) -> dict[str, Any]:
    """Recall by fault, precision by gate, and the error of scores before and after the gates.

    A row that a judge gave no score, or whose fault cannot be told from it, is in no recall.
    """
    faults = []
    for kind in ("gen", "edit"):
        for fault, gate in GATE_OF.items():
            some = [one for one in judged if (one.kind, one.fault) == (kind, fault)]
            seen = [one for one in some if one.reason is None or _at_gates(one.reason)]
            for decidable in (True, False):
                group = [one for one in seen if one.decidable == decidable]
                if group:
                    reasons = Counter(one.reason for one in group)
                    faults.append(
                        {
                            "kind": kind,
                            "fault": fault,
                            "decidable": decidable,
                            "gate": gate,
                            "planted": len(group),
                            "by_its_gate": reasons[gate] if gate else 0,
                            "by_any": len(group) - reasons[None],
                        }
                    )
    gates = []
    for kind in ("gen", "edit"):
        rejected = [o for o in judged if o.kind == kind and o.reason and _at_gates(o.reason)]
        for gate in sorted({str(one.reason) for one in rejected}):
            group = [one for one in rejected if one.reason == gate]
            of_gate = sum(one.fault is not None and GATE_OF[one.fault] == gate for one in group)
            # What only sounds like a leak is no fault either.
            unplanted = [one for one in group if one.fault is None or GATE_OF[one.fault] is None]
            gates.append(
                {
                    "kind": kind,
                    "gate": gate,
                    "rejected": len(group),
                    "planted_for_it": of_gate,
                    "other_faults": len(group) - of_gate - len(unplanted),
                    "unplanted": len(unplanted),
                    "unplanted_mae": _error(unplanted),
                }
            )
    scores = []
    for axis in ("gen", *AXES):
        some = [one for one in judged if (one.axis or "gen") == axis and one.score is not None]
        scores.append(
            {
                "axis": axis,
                "rows": len(some),
                "before": _error(some),
                "kept": sum(one.reason is None for one in some),
                "after": _error([one for one in some if one.reason is None]),
                "without_faults": _error([one for one in some if one.fault is None]),
            }
        )
    return {"faults": faults, "gates": gates, "scores": scores}


def _at_gates(reason: str) -> bool:
    return reason == "duplicate" or reason.startswith("gate:")


def _error(some: list[Judged]) -> float | None:
    if not any(one.score is not None for one in some):
        return None
    given = np.array([one.score for one in some if one.score is not None])
    return mae(np.array([one.true for one in some if one.score is not None]), given)
