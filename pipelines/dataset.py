"""From finished tables to `dataset/` and `rejects/`: written anew by each run, from disk alone.

Twice through: first what became of every row, then, once all scores are known, which of them
balance keeps. `datasets.load_dataset("parquet", data_dir=...)` opens the result with decoded
pictures: the Parquet metadata names the picture columns' `Image` feature.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.answers import Row
from pipelines.balance import choose_rows, with_counts
from pipelines.build import Kind
from pipelines.controls import CONTROL_SCHEMA, COUNTED, control_result, count_controls
from pipelines.dataset_files import SplitWriter, with_pictures
from pipelines.dataset_rows import (
    REJECT_SCHEMA,
    bucket_outcomes,
    dataset_schema,
    gated_schema,
    make_reject,
    sort_outcomes,
)
from pipelines.funnel import add_answers
from pipelines.gates.build_gates import Gate, make_gate, near_rows_of
from pipelines.gates.contamination import Benchmarks
from pipelines.recipe import Recipe
from pipelines.replies import SCORES
from pipelines.rows import kind_of
from pipelines.shards import ROWS_PER_GROUP, sync_folder, sync_tree, write_bytes
from pipelines.stages import Stage

_MATCHES = ("row_id", "axis", "benchmark", "item", "what")
FOLDERS = ("dataset", "rejects", "controls")
_INDEX = {"bucket": pl.Int32, "row_id": pl.String, "split": pl.String, "axis": pl.String}


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
        passed = _pass_gates(
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
            _add_rejects(fresh["rejects"], bucket, gone)
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


@dataclass(frozen=True, kw_only=True)
class _Passed:
    """What came through the gates: an index of the rows in order, and what else was counted."""

    index: pl.DataFrame
    answers: dict[str, dict[str, Any]]
    controls: list[Row]
    rejects: int


def _pass_gates(
    build: Path,
    kind: Kind,
    stages: Mapping[str, Stage],
    gate: Gate,
    fresh: Mapping[str, Path],
    control_share: float,
    *,
    n_buckets: int,
) -> _Passed:
    """Every bucket through the gates: kept rows to `gated`, the others to `rejects`."""
    answers: dict[str, dict[str, Any]] = {}
    controls: list[Row] = []
    frames, n_rejects = [pl.DataFrame(schema={**_INDEX, "score": pl.Int64})], 0
    schema = gated_schema(kind)
    for bucket in range(n_buckets):
        found = bucket_outcomes(build, kind, bucket, stages, control_share=control_share)
        kept, rejects = sort_outcomes(kind, found.rows, found.outcomes)
        kept, gated = _through_gates(kept, gate)
        leaks = {row["answer_id"] for row in gated if row["reason"] == "gate:leak"}
        for table, some in found.used.items():
            answers[table] = add_answers(answers.get(table), some.values(), leaks)
        if kept:
            table = pa.Table.from_pylist(kept, schema=schema)
            pq.write_table(
                table,
                fresh["gated"] / _name(bucket),
                compression="zstd",
                row_group_size=ROWS_PER_GROUP,
            )
        rows = [
            {**{name: row.get(name) for name in (*_INDEX, "score")}, "bucket": bucket}
            for row in kept
        ]
        frames.append(pl.DataFrame(rows, schema=frames[0].schema))
        results = [control_result(kind, outcome) for outcome in found.controls]
        if results:
            table = pa.Table.from_pylist(results, schema=CONTROL_SCHEMA)
            pq.write_table(table, fresh["controls"] / _name(bucket), compression="zstd")
            controls += [{name: row[name] for name in COUNTED} for row in results]
        _add_rejects(fresh["rejects"], bucket, rejects + gated)
        n_rejects += len(rejects) + len(gated)
    return _Passed(index=pl.concat(frames), answers=answers, controls=controls, rejects=n_rejects)


def _name(bucket: int) -> str:
    return f"{bucket:05d}.parquet"


def _through_gates(rows: list[Row], gate: Gate) -> tuple[list[Row], list[Row]]:
    """The rows of a bucket that every gate keeps, and rejects of the others."""
    kept, rejects = [], []
    answers: dict[str, str] = {}
    for row in rows:
        fault = gate(row)
        # Two rows that were rewritten to the same text are one: they have the same answer.
        if (
            fault is None
            and (other := answers.setdefault(row["answer_id"], row["row_id"])) != row["row_id"]
        ):
            fault = "gate:duplicate", f"the same as row {other} in pictures and text"
        if fault is None:
            kept.append(row)
        else:
            rejects.append(_leave_out(row, "gates", *fault))
    return kept, rejects


def _leave_out(row: Row, stage: str, reason: str, detail: str) -> Row:
    """The reject of a row that has a score."""
    # No faulty reply, but what was written: a person can tell by it how the gate decides.
    raw = json.dumps({"reasoning": row["reasoning"], "score": row["score"]})
    return make_reject(row, row["axis"], stage, {**row, "detail": detail, "raw_reply": raw}, reason)


def _kept_batches(
    folder: Path, bucket: int, kept: pl.Series, gone: list[Row]
) -> Iterator[list[Row]]:
    """The rows of a bucket that balance keeps, a row group at a time; the others go to `gone`.

    Picture bytes are held for one batch at a time.
    """
    file, start = pq.ParquetFile(folder / _name(bucket)), 0
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group).to_pylist()
        stands = kept.slice(start, len(rows)).to_list()
        start += len(rows)
        yield [row for row, keep in zip(rows, stands, strict=True) if keep]
        for row, keep in zip(rows, stands, strict=True):
            if not keep:
                detail = f"there are enough rows scored {row['score']}"
                gone.append(_leave_out(row, "balance", "balance:quota", detail))


def _add_rejects(folder: Path, bucket: int, rejects: list[Row]) -> None:
    if not rejects:
        return
    path = folder / _name(bucket)
    table = pa.Table.from_pylist(rejects, schema=REJECT_SCHEMA)
    if path.exists():
        table = pa.concat_tables([pq.read_table(path, schema=REJECT_SCHEMA), table])
    pq.write_table(table, path, compression="zstd")


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


@contextmanager
def made_anew(*folders: Path) -> Iterator[None]:
    """Empty folders, removed again when what fills them fails: a full disk stays no fuller."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    try:
        yield
    except BaseException:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def replace_folder(fresh: Path, final: Path) -> None:
    """Put a folder in the place of another; there is never half of one under its name."""
    old = final.with_name(f".{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        os.rename(final, old)
    os.rename(fresh, final)
    sync_folder(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def stage_digests(stages: Mapping[str, Stage]) -> dict[str, Any]:
    """What is recorded of each stage in the build's manifest."""
    return {
        name: {**stage.provenance, "sampling": json.loads(stage.provenance["sampling"])}
        for name, stage in stages.items()
    }
