"""From finished tables to `dataset/` and `rejects/`: written anew by each run, from disk alone.

`datasets.load_dataset("parquet", data_dir=...)` opens it with decoded pictures: the Parquet
metadata names the picture columns' `Image` feature.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.answers import Row
from pipelines.build import Kind
from pipelines.chains import run_chain
from pipelines.funnel import add_answers
from pipelines.gates.build_gates import Gate, make_gate, near_rows_of
from pipelines.gates.contamination import Benchmarks
from pipelines.gen_flow import Outcome
from pipelines.recipe import Gates
from pipelines.rendering import AXES
from pipelines.rows import read_rows
from pipelines.shard_run import ShardRun
from pipelines.shards import ROWS_PER_GROUP, sync_folder
from pipelines.stages import Stage
from pipelines.tables import PROVENANCE_COLUMNS, SCORE_COLUMNS, output_columns

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
PICTURES: Mapping[Kind, tuple[str, ...]] = {
    "gen": ("image",),
    "edit": ("source_image", "edited_image"),
}
_UPSTREAM: Mapping[Kind, str] = {"gen": "checklists", "edit": "differences"}
_SCORES: Mapping[Kind, str] = {"gen": "gen_scores", "edit": "edit_scores"}
REJECT_SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("axis", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("raw_reply", pa.string()),
        ("attempts", pa.int32()),
        ("faults", pa.list_(pa.string())),
        ("answer_id", pa.string()),
        ("source", pa.string()),
        ("source_index", pa.int64()),
        ("source_id", pa.string()),
        ("prompt", pa.string()),
        ("instruction", pa.string()),
        ("metadata", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written: rows a split, rejects, the files with their rows, and counts of the answers
    it rests on by table (see `funnel.add_answers`). `capped`: sets of rows with one text that were
    too many to be compared wholly for near duplicates.
    """

    splits: dict[str, int] = field(default_factory=dict)
    rejects: int = 0
    files: dict[str, int] = field(default_factory=dict)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    capped: int = 0


def dataset_schema(kind: Kind) -> pa.Schema:
    """Arrow schema of `dataset/`, with the `datasets` features in its metadata."""
    texts = ["prompt"] if kind == "gen" else ["instruction", "axis"]
    upstream = [
        (f"{_UPSTREAM[kind]}_{name}", dtype)
        for name, dtype in (("answer_id", pa.string()), *PROVENANCE_COLUMNS)
    ]
    inherited = output_columns(_UPSTREAM[kind])
    if kind == "edit":
        inherited = [*inherited, ("report", pa.string())]
    else:
        inherited = [("checklist", inherited[0][1])]
    schema = pa.schema(
        [
            ("row_id", pa.string()),
            *((name, IMAGE) for name in PICTURES[kind]),
            *((name, pa.string()) for name in texts),
            *(c for c in output_columns(_SCORES[kind]) if c not in SCORE_COLUMNS),
            *SCORE_COLUMNS,
            *inherited,
            *((f"{name}_sha256", pa.string()) for name in PICTURES[kind]),
            *((f"{name}_seen_sha256", pa.string()) for name in PICTURES[kind]),
            ("notes", pa.list_(pa.string())),
            ("source", pa.string()),
            ("source_index", pa.int64()),
            ("source_id", pa.string()),
            ("license", pa.string()),
            ("metadata", pa.string()),
            ("answer_id", pa.string()),
            *PROVENANCE_COLUMNS,
            *upstream,
        ]
    )
    return _with_image_features(schema, PICTURES[kind])


def _with_image_features(schema: pa.Schema, pictures: tuple[str, ...]) -> pa.Schema:
    from datasets import Features, Image

    plain = pa.schema([f for f in schema if f.name not in pictures])
    features = {**Features.from_arrow_schema(plain), **{name: Image() for name in pictures}}
    ordered = Features({name: features[name] for name in schema.names})
    return schema.with_metadata(ordered.arrow_schema.metadata)


def bucket_outcomes(
    build: Path, kind: Kind, bucket: int, stages: Mapping[str, Stage]
) -> tuple[list[Row], list[Outcome], dict[str, dict[str, Row]]]:
    """The rows of a bucket, what became of each, and the answers used by table and id.

    From disk alone: it is the chain that made the answers, run with nobody to ask, so no second
    rule says which answer belongs to which row. Raises NotAsked when one is missing.
    """
    used: dict[str, dict[str, Row]] = {stage.table: {} for stage in stages.values()}

    def note(stage: Stage, row: Row, asked: bool) -> None:
        used[stage.table][row["answer_id"]] = row

    rows = read_rows(build, bucket)
    run = ShardRun(build, bucket, stages, chat_of=None, on_answer=note)
    return rows, asyncio.run(run_chain(kind, rows, run, at_once=1)), used


def _dataset_row(kind: Kind, outcome: Outcome, score: Row) -> Row:
    row, upstream = outcome.row, outcome.upstream
    prefix = _UPSTREAM[kind]
    inherited = (
        {"checklist": upstream["items"]}
        if kind == "gen"
        else {name: upstream[name] for name in ("obvious", "detailed", "report")}
    )
    hashes = {
        f"{name}_{what}": row[name][what]
        for name in PICTURES[kind]
        for what in ("sha256", "seen_sha256")
    }
    earlier = {f"{prefix}_{name}": upstream.get(name) for name, _ in PROVENANCE_COLUMNS}
    return {
        **row,
        **score,
        **inherited,
        **hashes,
        **earlier,
        f"{prefix}_answer_id": upstream["answer_id"],
        "axis": outcome.axis,
    }


def _reject(row: Row, axis: str | None, stage: str, found: Row | None, reason: str) -> Row:
    found = found or {}
    names = ("source", "source_index", "source_id", "prompt", "instruction", "metadata")
    about = {name: row.get(name) for name in names}
    keys = ("detail", "raw_reply", "attempts", "faults", "answer_id")
    return {
        "row_id": row["row_id"],
        "axis": axis,
        "stage": stage,
        "reason": reason,
        **{name: found.get(name) for name in keys},
        **about,
    }


def sort_outcomes(
    kind: Kind, rows: list[Row], outcomes: list[Outcome]
) -> tuple[list[Row], list[Row]]:
    """Split a bucket into dataset rows and rejects; duplicates stay in `rows/` alone."""
    kept, rejects = [], []
    axes = AXES if kind == "edit" else (None,)
    for row in rows:
        if row["status"] == "rejected":
            rejects += [_reject(row, axis, "rows", row, row["reason"]) for axis in axes]
    for outcome in sorted(outcomes, key=lambda o: (o.row["order"], axes.index(o.axis))):
        if outcome.score is None:
            stage = _UPSTREAM[kind]
            rejects.append(
                _reject(outcome.row, outcome.axis, stage, outcome.upstream, f"upstream:{stage}")
            )
        elif outcome.score["status"] != "ok":
            stage, reason = _SCORES[kind], outcome.score["reason"]
            rejects.append(_reject(outcome.row, outcome.axis, stage, outcome.score, reason))
        else:
            kept.append(_dataset_row(kind, outcome, outcome.score))
    return kept, rejects


def _through_gates(rows: list[Row], gate: Gate) -> tuple[list[Row], list[Row]]:
    """The rows that every gate keeps, and rejects of the others."""
    kept, rejects = [], []
    for row in rows:
        fault = gate(row)
        if fault is None:
            kept.append(row)
        else:
            reason, detail = fault
            # No faulty reply, but what was written: a person can tell by it how the gate decides.
            raw = json.dumps({"reasoning": row["reasoning"], "score": row["score"]})
            found = {**row, "detail": detail, "raw_reply": raw}
            rejects.append(_reject(row, row["axis"], "gates", found, reason))
    return kept, rejects


def write_dataset(
    build: Path,
    kind: Kind,
    stages: Mapping[str, Stage],
    *,
    gates: Gates,
    benchmarks: Benchmarks,
    n_buckets: int,
    rows_per_file: int,
    inside: bool,
) -> Written:
    """Write `dataset/` and `rejects/` anew beside the old ones, then put them in their place.

    `inside`: original picture bytes go into the rows; else their path does.
    Raises NotAsked, OSError (disk full); the old `dataset/` then stands untouched.
    """
    fresh, fresh_rejects = build / ".dataset.new", build / ".rejects.new"
    writers: dict[str, _SplitWriter] = {}
    n_rejects, answers = 0, {}
    near = near_rows_of(build, kind, gates)
    gate = make_gate(near, benchmarks, gates)
    with _made_anew(fresh, fresh_rejects):
        for split in ("train", "validation"):
            writers[split] = _SplitWriter(fresh, split, kind, rows_per_file)
        for bucket in range(n_buckets):
            rows, outcomes, used = bucket_outcomes(build, kind, bucket, stages)
            kept, rejects = sort_outcomes(kind, rows, outcomes)
            kept, gated = _through_gates(kept, gate)
            rejects += gated
            for table, found in used.items():
                answers[table] = add_answers(answers.get(table), found.values())
            for split, writer in writers.items():
                mine = [row for row in kept if row["split"] == split]
                for batch in _batches(mine):
                    filled, gone = _with_pictures(batch, kind, inside=inside)
                    writer.write(filled)
                    rejects += gone
            n_rejects += len(rejects)
            if rejects:
                table = pa.Table.from_pylist(rejects, schema=REJECT_SCHEMA)
                pq.write_table(table, fresh_rejects / f"{bucket:05d}.parquet", compression="zstd")
        files: dict[str, int] = {}
        for writer in writers.values():
            files |= writer.close()
    # The old manifest must not vouch for the new files; the new one comes last.
    (build / "manifest.json").unlink(missing_ok=True)
    _replace(fresh, build / "dataset")
    _replace(fresh_rejects, build / "rejects")
    splits = {split: writer.rows for split, writer in writers.items()}
    return Written(
        splits=splits, rejects=n_rejects, files=files, answers=answers, capped=near.capped
    )


@contextmanager
def _made_anew(*folders: Path) -> Iterator[None]:
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


def _batches(rows: list[Row]) -> Iterator[list[Row]]:
    # Picture bytes are held for one row group at a time.
    for start in range(0, len(rows), ROWS_PER_GROUP):
        yield rows[start : start + ROWS_PER_GROUP]


def _with_pictures(rows: list[Row], kind: Kind, *, inside: bool) -> tuple[list[Row], list[Row]]:
    """The rows with their original pictures, and rejects where a picture is not the same."""
    filled, gone = [], []
    for row in rows:
        try:
            images = {name: _image(row[name], inside=inside) for name in PICTURES[kind]}
        except (OSError, ValueError) as error:
            found = {**row, "detail": f"{error}; put the picture back and run again"}
            gone.append(_reject(row, row["axis"], "dataset", found, "picture:changed"))
        else:
            filled.append({**row, **images})
    return filled, gone


def _image(picture: dict[str, Any], *, inside: bool) -> dict[str, Any]:
    path = Path(picture["path"])
    if not inside:
        # Its size alone is looked at: whoever refers to pictures has too many to read them all.
        if path.stat().st_size != picture["bytes_size"]:
            raise ValueError(f"{path} is not the picture that was judged")
        return {"bytes": None, "path": str(path)}
    data = path.read_bytes()
    if sha256(data).hexdigest() != picture["sha256"]:
        raise ValueError(f"{path} is not the picture that was judged")
    return {"bytes": data, "path": path.name}


class _SplitWriter:
    """Writes one split into files of about `rows_per_file` rows; names are known at the end."""

    def __init__(self, folder: Path, split: str, kind: Kind, rows_per_file: int) -> None:
        self._folder, self._split, self._rows_per_file = folder, split, rows_per_file
        self._schema = dataset_schema(kind)
        self._open: pq.ParquetWriter | None = None
        self._counts: list[int] = []
        self.rows = 0

    def _part(self, i: int) -> Path:
        return self._folder / f".{self._split}-{i:05d}.part"

    def write(self, rows: list[Row]) -> None:
        if not rows:
            return
        if self._open is None:
            self._counts.append(0)
            self._open = pq.ParquetWriter(
                self._part(len(self._counts) - 1),
                self._schema,
                compression="zstd",
                write_page_index=True,
            )
        columns: dict[str, list[Any]] = {
            name: [row.get(name) for row in rows] for name in self._schema.names
        }
        self._open.write_table(
            pa.table(columns, schema=self._schema), row_group_size=ROWS_PER_GROUP
        )
        self._counts[-1] += len(rows)
        self.rows += len(rows)
        if self._counts[-1] >= self._rows_per_file:
            self._close_file()

    def _close_file(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def close(self) -> dict[str, int]:
        """Give the files their final names. Returns rows a file."""
        self._close_file()
        files = {}
        for i, rows in enumerate(self._counts):
            name = f"{self._split}-{i:05d}-of-{len(self._counts):05d}.parquet"
            with open(self._part(i), "rb+") as file:
                os.fsync(file.fileno())
            os.replace(self._part(i), self._folder / name)
            files[name] = rows
        return files


def _replace(fresh: Path, final: Path) -> None:
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
