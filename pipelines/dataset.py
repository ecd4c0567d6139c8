"""From finished tables to `dataset/` and `rejects/`: written anew by each run, from disk alone.

Twice through: first what became of every row, then, once all scores are known, which of them
balance keeps. `datasets.load_dataset("parquet", data_dir=...)` opens the result with decoded
pictures: the Parquet metadata names the picture columns' `Image` feature.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow.parquet as pq

from pipelines.answers import Row
from pipelines.balance import choose_rows, with_counts
from pipelines.controls import count_controls
from pipelines.dataset_files import SplitWriter, with_pictures
from pipelines.dataset_gates import add_rejects, bucket_file, leave_out, pass_gates
from pipelines.dataset_rows import dataset_schema
from pipelines.gates.build_gates import make_gate, near_rows_of
from pipelines.gates.contamination import Benchmarks
from pipelines.recipe import Recipe
from pipelines.replies import SCORES
from pipelines.rows import kind_of
from pipelines.shards import made_anew, replace_folder, sync_tree, write_bytes
from pipelines.stages import Stage

_MATCHES = ("row_id", "axis", "benchmark", "item", "what")
FOLDERS = ("dataset", "rejects", "controls")


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written, for the manifest.

    `splits` and `files` count rows; `answers` are counts of those that it rests on, by table (see
    `funnel.add_answers`); `scores` has the rows of each score before and after balance; `balance`
    and `controls` are `Balanced` and `ControlCount` as dicts; `capped` counts sets of rows with one
    text that were too many to be compared wholly for near duplicates.
    """

    splits: dict[str, int]
    rejects: int
    files: dict[str, int]
    answers: dict[str, dict[str, Any]]
    scores: list[dict[str, Any]]
    balance: list[dict[str, Any]]
    controls: list[dict[str, Any]]
    capped: int


def write_dataset(
    build: Path,
    recipe: Recipe,
    stages: Mapping[str, Stage],
    *,
    benchmarks: Benchmarks,
    n_buckets: int,
) -> Written:
    """Write `dataset/`, `rejects/` and `controls/` beside the old ones, then put them in place.

    `contamination.csv` lists the rows that share something with a benchmark, and what.

    Raises NotAsked, OSError (disk full). The old ones stand untouched until all is written; where a
    run ends while they are being replaced, there is no manifest.
    """
    kind = kind_of(recipe)
    near = near_rows_of(build, kind, recipe.gates)
    matches: list[dict[str, Any]] = []
    gate = make_gate(near, benchmarks, recipe.gates, matches)
    fresh = {name: build / f".{name}.new" for name in (*FOLDERS, "gated")}
    with made_anew(*fresh.values()):
        passed = pass_gates(
            build, kind, stages, gate, fresh, recipe.control_share, n_buckets=n_buckets
        )
        kept, balanced = choose_rows(
            passed.index,
            recipe.balance.shares(),
            tolerance=recipe.balance.tolerance,
            least_kept=recipe.balance.least_kept,
            seed=recipe.balance.seed,
        )
        chosen = passed.index.with_columns(kept)
        writers = {
            split: SplitWriter(fresh["dataset"], split, dataset_schema(kind), recipe.shard_rows)
            for split in ("train", "validation")
        }
        inside = recipe.images.originals == "inside"
        after: Counter[tuple[str, str | None, int]] = Counter()
        n_rejects = passed.rejects
        for (number,), some in chosen.group_by("bucket", maintain_order=True):
            bucket, gone = cast(int, number), []
            for batch in _kept_batches(fresh["gated"], bucket, some["kept"], gone):
                filled, changed = with_pictures(batch, kind, inside=inside)
                gone += changed
                for split, writer in writers.items():
                    writer.write([row for row in filled if row["split"] == split])
                after.update((row["split"], row["axis"], row["score"]) for row in filled)
            add_rejects(fresh["rejects"], bucket, gone)
            n_rejects += len(gone)
        files: dict[str, int] = {}
        for writer in writers.values():
            files |= writer.close()
        shutil.rmtree(fresh["gated"])
        for name in FOLDERS:
            sync_tree(fresh[name])
    # The old manifest must not vouch for the new files; the new one comes last.
    (build / "manifest.json").unlink(missing_ok=True)
    for name in FOLDERS:
        replace_folder(fresh[name], build / name)
    listed = pl.DataFrame(matches, schema=dict.fromkeys(_MATCHES, pl.String))
    write_bytes(build / "contamination.csv", listed.write_csv().encode())
    return Written(
        splits={split: writer.rows for split, writer in writers.items()},
        rejects=n_rejects,
        files=files,
        answers=passed.answers,
        scores=_histograms(passed.index, after),
        balance=[
            asdict(with_counts(one, [after[one.split, one.axis, score] for score in SCORES]))
            for one in balanced
        ],
        controls=count_controls(passed.controls),
        capped=near.capped,
    )


def _kept_batches(
    folder: Path, bucket: int, kept: pl.Series, gone: list[Row]
) -> Iterator[list[Row]]:
    """The rows of a bucket that balance keeps, a row group at a time; the others go to `gone`.

    Picture bytes are held for one batch at a time.
    """
    file, start = pq.ParquetFile(folder / bucket_file(bucket)), 0
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group).to_pylist()
        stands = kept.slice(start, len(rows)).to_list()
        start += len(rows)
        yield [row for row, keep in zip(rows, stands, strict=True) if keep]
        for row, keep in zip(rows, stands, strict=True):
            if not keep:
                detail = f"there are enough rows scored {row['score']}"
                gone.append(leave_out(row, "balance", "balance:quota", detail))


def _histograms(
    index: pl.DataFrame, after: Mapping[tuple[str, str | None, int], int]
) -> list[dict[str, Any]]:
    """Rows of each score 1 to 5, a split and axis, before and after balance."""
    before = Counter(index.select("split", "axis", "score").iter_rows())
    groups = sorted({key[:2] for key in before}, key=str)
    return [
        {
            "split": split,
            "axis": axis,
            "before": [before[split, axis, score] for score in SCORES],
            "after": [after.get((split, axis, score), 0) for score in SCORES],
        }
        for split, axis in groups
    ]
