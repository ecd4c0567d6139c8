"""The table `rows/` of a preference build: every row of a dataset with its label, in buckets.

Rows are placed by what they share, as those of a build are, so that a row keeps its shard when the
dataset grows. `images/` holds what the judge saw of each picture, once, named by its sha256.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.answers import Row
from pipelines.build import PICTURES, Kind
from pipelines.dataset_reading import Dataset, read_group, read_groups
from pipelines.export.pictures import write_picture
from pipelines.rows import Spool, place_row, shard_path
from pipelines.shards import sync_tree, write_shard

PICTURE = pa.struct(
    [
        ("sha256", pa.string()),
        ("seen_sha256", pa.string()),
        ("seen_path", pa.string()),
        ("seen_format", pa.string()),
    ]
)
_TEXTS: dict[Kind, tuple[str, ...]] = {"gen": ("prompt",), "edit": ("instruction",)}
# Of the dataset's own columns: what a row is and where its label is from.
_KEPT = ("row_id", "axis", "score", "answer_id", "model", "revision", "license")


def labelled_schema(kind: Kind) -> pa.Schema:
    """Arrow schema of the labelled rows; `axis` is null in those of generated pictures."""
    return pa.schema(
        [
            ("row_id", pa.string()),
            ("axis", pa.string()),
            ("split", pa.string()),
            ("label_score", pa.int64()),
            ("label_answer_id", pa.string()),
            ("label_model", pa.string()),
            ("label_revision", pa.string()),
            ("license", pa.string()),
            *((name, pa.string()) for name in _TEXTS[kind]),
            *((name, PICTURE) for name in PICTURES[kind]),
        ]
    )


def write_labelled(
    dataset: Dataset,
    build: Path,
    *,
    n_buckets: int,
    on_progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Write `rows/` and `images/` of a dataset as it is now.

    Returns how many pictures are not the bytes that the judge saw, having been prepared anew. A
    picture that stands in `images/` is not read again. Raises DatasetUnreadable, ExportRefused (a
    picture that can no longer be prepared), OSError.
    """
    # Absolute: a server that shares the disk may be sent the paths.
    build = build.absolute()
    incoming = build / "rows" / ".incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    spool = Spool(incoming)
    known = {path.stem: path for path in sorted((build / "images").glob("*/[!.]*"))}
    n_known, done = len(known), 0
    for split, paths in dataset.splits.items():
        for path, group, rows in read_groups(paths, _columns(dataset.kind)):
            _write_pictures(dataset, path, group, rows, build, known)
            for row in rows:
                shared = row["prompt" if dataset.kind == "gen" else "source_image_sha256"]
                bucket, _ = place_row(shared, n_buckets, 0.0)
                spool.add(bucket, _labelled(dataset.kind, row, split, known))
            done += len(rows)
            on_progress(done)
    spool.flush()
    if len(known) > n_known:
        # At the end and not one by one: most of it is on disk by then.
        sync_tree(build / "images")
    for bucket in range(n_buckets):
        rows, _ = spool.read(bucket)
        table = pa.Table.from_pylist(rows, schema=labelled_schema(dataset.kind))
        write_shard(shard_path(build, bucket), table, {"table": "rows", "bucket": bucket})
    shutil.rmtree(incoming)
    return sum(path.stem != digest for digest, path in known.items())


def _columns(kind: Kind) -> list[str]:
    digests = [f"{name}_{what}" for name in PICTURES[kind] for what in ("sha256", "seen_sha256")]
    return [*_KEPT, *_TEXTS[kind], *digests]


def _write_pictures(
    dataset: Dataset, path: Path, group: int, rows: list[Row], build: Path, known: dict[str, Path]
) -> None:
    """Store the pictures of a row group that are not there yet, and note where each stands."""
    names = PICTURES[dataset.kind]
    if all(row[f"{name}_seen_sha256"] in known for row in rows for name in names):
        return
    counts = {"written": 0, "unlike_those_seen": 0}
    for row in read_group(path, group, [*_columns(dataset.kind), *names]):
        for name in names:
            wanted = row[f"{name}_seen_sha256"]
            if wanted not in known:
                known[wanted] = build / write_picture(dataset, row, name, build, counts)


def _labelled(kind: Kind, row: Row, split: str, known: dict[str, Path]) -> dict[str, Any]:
    pictures = {}
    for name in PICTURES[kind]:
        place = known[row[f"{name}_seen_sha256"]]
        pictures[name] = {
            "sha256": row[f"{name}_sha256"],
            # By its own bytes: another decoder may have made other ones of the same original.
            "seen_sha256": place.stem,
            "seen_path": str(place),
            "seen_format": _FORMATS[place.suffix],
        }
    return {
        "row_id": row["row_id"],
        "axis": row.get("axis"),
        "split": split,
        "label_score": row["score"],
        "label_answer_id": row["answer_id"],
        "label_model": row["model"],
        "label_revision": row["revision"],
        "license": row["license"],
        **{name: row[name] for name in _TEXTS[kind]},
        **pictures,
    }


_FORMATS = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
