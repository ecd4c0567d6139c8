"""A benchmark's rows through the production stages of a student: asked once, kept, resumed.

Every row is asked about twice, one greedy reply and one request for eight votes; or greedily alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from foundry.evals.bench import Item, Pair, Rows, wanted_axes
from foundry.evals.bench_files import BenchRefused
from foundry.evals.modes import VOTES, DirectAnswers, Scored
from foundry.evals.stages import benchmark_recipe, run_rollouts, run_student
from pipelines.answers import Row
from pipelines.connecting import Servers
from pipelines.rendering import GEN_AXIS
from pipelines.rows import read_rows
from pipelines.shards import write_bytes
from pipelines.student import AxesOf, StudentAnswer


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
) -> DirectAnswers:
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
