"""What the loop on ShapeWorld came to, read from the reports of its commands (see flows.loop).

    python -m foundry.evals.loop_measures SEED_FOLDER

writes `measures.json` into the folder, after which everything else in it can be removed. A seed's
folder has a `bench-<model>/` for each model, builds `labels-<kind>/` and `raw-<kind>/` of worlds
`world-<kind>/`, and `compare-<a>-<b>.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from cyclopts import App

from foundry.evals.compare import read_report
from foundry.evals.comparing import NotComparable
from foundry.evals.metrics import best_constant, mae, of_rows, spearman, with_interval
from foundry.evals.modes import EXPECTED, GREEDY
from foundry.evals.scores_report import Found
from pipelines.rendering import AXES, GEN_AXIS
from pipelines.shards import write_json

AXES_TOLD = (*AXES, GEN_AXIS)
BASE = "base"
MODELS = (BASE, "sft-raw", "sft", "dpo")
COMPARED = (("sft-raw", "sft"), ("sft", "dpo"))
LABELS = ("raw", "labels")
KINDS = ("edit", "gen")
MEASURES = "measures.json"
app = App(
    name="python -m foundry.evals.loop_measures", help_flags=["--help", "-h"], version_flags=[]
)


def bench_folder(folder: Path, model: str) -> Path:
    """Where the report of a model stands, for a seed's folder; the base is one for all seeds."""
    return (folder.parent if model == BASE else folder) / f"bench-{model}"


def compared_path(folder: Path, a: str, b: str) -> Path:
    """Where the comparison of two models stands."""
    return folder / f"compare-{a}-{b}.json"


def measure_seed(folder: Path) -> Found:
    """Everything the report shows of one seed.

    `models` and `shuffled` (the SFT model shown the pictures of other rows) by axis; `labels`, how
    near those of the factory are to the truth; `compared`, the differences of two models with their
    paired intervals; `trained`, recipes and sizes of the trainings; `pairs`, by kind of row, what
    DPO's pairs were made of. A measure is [value, lower end, upper end], None where undefined.
    """
    reports = {model: read_report(bench_folder(folder, model)) for model in MODELS}
    return {
        "models": {model: by_axis(report["slices"]) for model, report in reports.items()},
        "shuffled": by_axis(reports["sft"]["shuffled"]["slices"]),
        "labels": {name: measure_labels(folder, name) for name in LABELS},
        "compared": {f"{a} to {b}": _differences(compared_path(folder, a, b)) for a, b in COMPARED},
        "trained": {model: _training(folder / model) for model in MODELS if model != BASE},
        "pairs": {kind: _pairs(folder / f"pairs-{kind}") for kind in KINDS},
    }


def by_axis(slices: Sequence[Mapping[str, Any]]) -> Found:
    """Of each axis the error of greedy replies, a failure being the furthest, beside that of the
    best constant; their rank correlation; and both of the expected score, where there is one.
    """
    found: Found = {}
    for one in slices:
        if one["slice"] not in AXES_TOLD:
            continue
        modes = {mode["mode"]: mode for mode in one["modes"]}
        greedy, constants = modes[GREEDY], {int(s): c for s, c in one["constants"].items()}
        constant = constants[int(one["best_constant"]["mae"])]["mae"]
        found[one["slice"]] = {
            "n": one["n"],
            "failures": greedy["failures"],
            "mae": greedy["worst_mae"],
            "constant": constant,
            "ratio": greedy["worst_mae"][0] / constant,
            "spearman": greedy["spearman"],
            "expected": {
                name: modes[EXPECTED][of] if modes.get(EXPECTED, {}).get("n") else None
                for name, of in (("mae", "worst_mae"), ("spearman", "spearman"))
            },
        }
    return found


def measure_labels(folder: Path, name: str) -> Found:
    """The scores that a build's dataset has to learn from against the truth of its world, by axis.

    The truth is in no training: it is read here alone.
    """
    found: Found = {}
    for kind in KINDS:
        truth = {
            row["id"]: row
            for row in pq.read_table(folder / f"world-{kind}" / "truth.parquet").to_pylist()
        }
        rows: list[dict[str, Any]] = []
        for path in sorted((folder / f"{name}-{kind}" / "dataset").glob("train-*.parquet")):
            has = pq.read_schema(path).names
            columns = [c for c in ("source_id", "axis", "score") if c in has]
            rows += pq.read_table(path, columns=columns).to_pylist()
        for axis in AXES if kind == "edit" else (GEN_AXIS,):
            some = [row for row in rows if row.get("axis", GEN_AXIS) in (axis, None)]
            found[axis] = _labels([(truth[r["source_id"]], r) for r in some], axis)
    return found


def _labels(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], axis: str) -> Found:
    column = "score" if axis == GEN_AXIS else axis
    true = np.array([known[column] for known, _ in pairs], float)
    given = np.array([row["score"] for _, row in pairs], float)
    groups = [row["source_id"].rsplit("-", 1)[0] for _, row in pairs]
    constant = best_constant(true, mae)[1]
    return {
        "n": len(pairs),
        "counts": [int((given == score).sum()) for score in range(1, 6)],
        "mae": with_interval(partial(of_rows, mae, true, given), groups),
        "constant": constant,
        "ratio": mae(true, given) / constant,
        "spearman": with_interval(partial(of_rows, spearman, true, given), groups),
    }


def _differences(path: Path) -> list[Found]:
    """Those of greedy replies on each axis."""
    found = json.loads(path.read_text("utf-8"))["differences"]
    return [d for d in found if d["slice"] in AXES_TOLD and d["mode"] == GREEDY]


def _training(output: Path) -> Found:
    """What a training was, and the last that its log says."""
    run = json.loads((output / "run.json").read_text("utf-8"))
    last: Found = {}
    for line in (output / "log.jsonl").read_text("utf-8").splitlines():
        last |= json.loads(line)
    names = ("batch", "learning_rate", "beta", "score_only_share", "precision")
    recipe = {name: run["recipe"][name] for name in names if name in run["recipe"]}
    rows = sum(fact["rows"].get("train", 0) for fact in run["data"])
    told = ("loss", "rewards/accuracies", "rewards/margins", "result_changed_share")
    kept = {name: last[name] for name in told if name in last}
    return {"rows": rows, "steps": last["step"], **recipe, **kept}


def _pairs(build: Path) -> Found:
    """What became of the rows that pairs were to be made of: from the build's manifest."""
    manifest = json.loads((build / "manifest.json").read_text("utf-8"))
    counts = ("rollouts", "pairs", "unpaired", "law")
    asked = ("k", "temperature")
    return {
        **{name: manifest[name] for name in counts},
        "asked": {name: manifest["recipe"]["rollouts"][name] for name in asked},
    }


@app.default
def main(folder: Path) -> int:
    """Write down the measures of a seed of the loop.

    Parameters
    ----------
    folder
        The seed's folder, with all reports and builds in it.

    """
    try:
        write_json(folder / MEASURES, measure_seed(folder))
    except (NotComparable, OSError) as error:
        print(f"{error}: not a seed's folder that is done", file=sys.stderr)  # noqa: T201 - its own output
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(app())
