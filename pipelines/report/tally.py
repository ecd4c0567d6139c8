"""Counts over the rows of a dataset: scores, votes, label probabilities.

Read file by file without pictures, so that the size of a build does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.dataset_reading import read_columns
from pipelines.replies import SCORES

ENTROPY_STEP = 0.25
ENTROPY_BINS = 10  # up to 2.5 bits; the most that five labels can have is 2.32
_COLUMNS = ["axis", "score", "score_probs", "vote_scores", "vote_spread", "label_mass"]


def tally_dataset(build: Path) -> dict[str | None, dict[str, Any]]:
    """Counts by axis (None: generated pictures).

    `scores`: rows of score 1 to 5. Of rows with several votes: `voted`, `unanimous`, `ranges` by
    highest vote less lowest (0 to 4), `spread` the sum of standard deviations. Of rows with label
    probabilities: `probed`, `entropy` the sum in bits, `unsure` over one bit, and `entropies`
    in steps of a quarter bit. Of rows whose judge was asked without a form as well: `freed`, and
    `label_mass` the sum of the probabilities of a score there.
    """
    tallies: dict[str | None, dict[str, Any]] = {}
    for path in sorted((build / "dataset").glob("*.parquet")):
        frame = pl.DataFrame(read_columns(path, _COLUMNS))
        if "axis" not in frame.columns:
            frame = frame.with_columns(axis=pl.lit(None, pl.String))
        for (axis,), rows in sorted(frame.group_by("axis"), key=lambda found: str(found[0])):
            _add(tallies.setdefault(axis, _nothing()), rows)
    # Execution before consistency, as in the flow.
    return dict(sorted(tallies.items(), key=lambda item: str(item[0]), reverse=True))


def count_missing(build: Path, answers: Iterable[str]) -> int:
    """How many of these answer ids are of no row of the dataset."""
    left = set(answers)
    for path in sorted((build / "dataset").glob("*.parquet")) if left else ():
        left.difference_update(read_columns(path, ["answer_id"])["answer_id"].to_pylist())
    return len(left)


def _nothing() -> dict[str, Any]:
    names = ("voted", "unanimous", "spread", "probed", "entropy", "unsure", "freed", "label_mass")
    sums = dict.fromkeys(names, 0)
    return {**sums, "scores": [0] * 5, "ranges": [0] * 5, "entropies": [0] * ENTROPY_BINS}


def _add(tally: dict[str, Any], rows: pl.DataFrame) -> None:
    for i, score in enumerate(SCORES):
        tally["scores"][i] += int((rows["score"] == score).sum())
    votes = rows.filter(pl.col("vote_scores").list.len() > 1)
    ranges = votes["vote_scores"].list.max() - votes["vote_scores"].list.min()
    for i in range(5):
        tally["ranges"][i] += int((ranges == i).sum())
    tally["voted"] += votes.height
    tally["unanimous"] += int((ranges == 0).sum())
    tally["spread"] += float(votes["vote_spread"].sum())
    masses = rows["label_mass"].drop_nulls() if "label_mass" in rows.columns else pl.Series([])
    tally["freed"] += len(masses)
    tally["label_mass"] += math.fsum(masses)
    entropies = _entropies(rows["score_probs"].drop_nulls())
    for bits in entropies:
        tally["entropies"][min(int(bits / ENTROPY_STEP), ENTROPY_BINS - 1)] += 1
    tally["probed"] += len(entropies)
    tally["entropy"] += math.fsum(entropies)
    tally["unsure"] += sum(bits > 1 for bits in entropies)


def _entropies(probs: pl.Series) -> list[float]:
    """Bits of each row's label probabilities; a label of probability 0 adds nothing."""
    p = pl.element()
    bits = probs.list.eval(pl.when(p > 0).then(-p * p.log(2)).otherwise(0.0)).list.sum()
    return [max(0.0, value) for value in bits.to_list()]
