"""How fast a build's answers came, and what they cost in tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.dataset_reading import read_columns
from pipelines.identity import digest
from pipelines.shards import shard_paths

PAUSE_S = 60.0
_COUNTS = ("attempts", "prompt_tokens", "completion_tokens")


def measure_stages(build: Path, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each table of answers, and at the end (`table` None) all of them together.

    `answers`, `attempts` and tokens are of what the present dataset rests on. `timed` answers on
    disk, of the present settings, came in `open_s` seconds in which at least one of them was being
    waited for, in `stretches` with pauses of more than a minute between them. `answers_an_hour` is
    None where nothing was timed.
    """
    funnel = manifest["funnel"]
    digests = [_stage_digest(stage) for stage in manifest["stages"].values()]
    stages, all_times = [], [np.empty((0, 2))]
    for table in (name for name in funnel if name not in ("rows", "rejects")):
        times = _times(build, table, digests)
        all_times.append(times)
        counts = {name: funnel[table][name] for name in _COUNTS}
        stages.append(_line(table, funnel[table]["total"], counts, times))
    sums = {name: sum(stage[name] for stage in stages) for name in ("answers", *_COUNTS)}
    answers = sums.pop("answers")
    return [*stages, _line(None, answers, sums, np.concatenate(all_times))]


def _line(
    table: str | None, answers: int, counts: dict[str, int], times: np.ndarray
) -> dict[str, Any]:
    open_s, stretches = waiting_time(times)
    return {
        "table": table,
        "answers": answers,
        **counts,
        "timed": len(times),
        "open_s": open_s,
        "stretches": stretches,
        "answers_an_hour": len(times) / open_s * 3600 if open_s else None,
    }


def waiting_time(times: np.ndarray) -> tuple[float, int]:
    """Seconds in which at least one answer was being waited for, and in how many stretches.

    `times` is (n, 2): when each was asked and when it came, in seconds. The time between two runs,
    or of a run that waited for nothing, counts nowhere.
    """
    if not len(times):
        return 0.0, 0
    times = times[np.argsort(times[:, 0])]
    # Latest arrival among all earlier requests: a later start than that is a gap.
    arrived = np.maximum.accumulate(times[:, 1])
    gaps = np.maximum(times[1:, 0] - arrived[:-1], 0.0)
    open_s = arrived[-1] - times[0, 0] - gaps.sum()
    return float(open_s), 1 + int((gaps > PAUSE_S).sum())


def _stage_digest(stage: Mapping[str, Any]) -> str:
    # As `stages.make_stage` makes it: the manifest alone holds the sampling as an object.
    return digest({**stage, "sampling": json.dumps(stage["sampling"], sort_keys=True)})


def _times(build: Path, table: str, digests: list[str]) -> np.ndarray:
    """When each answer of the present settings was asked and came, (n, 2), in seconds."""
    found = [np.empty((0, 2))]
    for path in shard_paths(build / table):
        rows = pl.DataFrame(read_columns(path, ["answered_at", "took_s", "stage_digest"]))
        rows = rows.filter(pl.col("stage_digest").is_in(digests)).drop_nulls()
        came = rows["answered_at"].to_numpy()
        found.append(np.stack([came - rows["took_s"].to_numpy(), came], axis=1))
    return np.concatenate(found)
