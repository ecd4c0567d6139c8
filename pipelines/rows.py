"""The table `rows/`: every row of the sources, ok or not, in buckets by what rows share.

It is a snapshot of the sources as they are now: the same sources give the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.build import Kind
from pipelines.dataset_settings import EDIT_COLUMNS, GEN_COLUMNS
from pipelines.identity import digest
from pipelines.picture_table import PICTURE_TYPE
from pipelines.recipe import Recipe
from pipelines.shards import file_sha256, read_manifest, read_shard, shard_paths, write_shard
from pipelines.sources import PICTURE_COLUMNS

# Raised when the columns or the making of ids change: every shard is then written anew.
ROWS_VERSION = 3
SPOOL_BYTES = 16 * 1024 * 1024


def kind_of(recipe: Recipe) -> Kind:
    """Which of the two flows a recipe is for."""
    return "gen" if recipe.columns_needed() == GEN_COLUMNS else "edit"


def rows_schema(kind: Kind) -> pa.Schema:
    """The Arrow schema of `rows/`. Pictures are structs, null in a rejected row."""
    columns = GEN_COLUMNS if kind == "gen" else (*EDIT_COLUMNS, "parent_id", "rewrite")
    return pa.schema(
        [
            ("row_id", pa.string()),
            ("status", pa.string()),
            ("reason", pa.string()),
            ("detail", pa.string()),
            ("duplicate_of", pa.string()),
            ("source", pa.string()),
            ("source_index", pa.int64()),
            ("source_id", pa.string()),
            ("license", pa.string()),
            *((c, PICTURE_TYPE if c in PICTURE_COLUMNS else pa.string()) for c in columns),
            ("notes", pa.list_(pa.string())),
            ("metadata", pa.string()),
            ("split", pa.string()),
        ]
    )


def read_rows(build_dir: Path, bucket: int) -> list[dict[str, Any]]:
    """The rows of one bucket in source order. Raises ShardDamaged naming the file."""
    return read_shard(shard_path(build_dir, bucket)).to_pylist()


def shard_path(build_dir: Path, bucket: int) -> Path:
    """Where a bucket's shard stands."""
    return build_dir / "rows" / f"{bucket:05d}.parquet"


def row_id(content: list[Any], occurrence: int) -> str:
    """20 hex digits of [kind, texts, picture sha256s] and how often the same came before."""
    return digest([*content, occurrence])[:20]


def place_row(shared: str, n_buckets: int, validation_share: float) -> tuple[int, str]:
    """Bucket and split of a row by what it shares with others, from two parts of one hash."""
    hashed = sha256(shared.encode("utf-8", "surrogatepass")).digest()
    bucket = int.from_bytes(hashed[:8]) % n_buckets
    part = int.from_bytes(hashed[8:16]) / 2**64
    return bucket, "validation" if part < validation_share else "train"


class Spool:
    """Finished rows waiting for their bucket, as JSON lines on disk; no file is kept open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[int, list[str]] = {}
        self._bytes = 0
        folder.mkdir(parents=True)

    def add(self, bucket: int, row: dict[str, Any]) -> None:
        """Add a row after those that its bucket already has."""
        line = json.dumps(row, separators=(",", ":"))
        self._held.setdefault(bucket, []).append(line)
        self._bytes += len(line) + 200
        if self._bytes > SPOOL_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is held in memory."""
        for bucket, lines in self._held.items():
            with open(self._path(bucket), "a", encoding="ascii") as file:
                file.writelines(f"{line}\n" for line in lines)
        self._held = {}
        self._bytes = 0

    def read(self, bucket: int) -> tuple[list[dict[str, Any]], str]:
        """The rows of a bucket, and the hex sha256 of all there is to know of them."""
        path = self._path(bucket)
        data = path.read_bytes() if path.exists() else b""
        return [json.loads(line) for line in data.splitlines()], sha256(data).hexdigest()

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket:05d}.jsonl"


def identify(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give rows their ids, in source order, and mark an ok row whose content came before.

    Takes the rows of a whole bucket, each with its `content`, which is removed.
    """
    times: Counter[str] = Counter()
    first_ok: dict[str, str] = {}
    done = []
    for row in rows:
        content = row.pop("content")
        key = digest(content)
        row["row_id"] = row_id(content, times[key])
        times[key] += 1
        if row["status"] == "ok" and first_ok.setdefault(key, row["row_id"]) != row["row_id"]:
            row |= {"status": "duplicate", "reason": "duplicate", "duplicate_of": first_ok[key]}
            row["detail"] = "the same texts and pictures came before"
        done.append(row)
    return done


def write_rows(
    build_dir: Path, bucket: int, rows: list[dict[str, Any]], *, kind: Kind, n_buckets: int, of: str
) -> None:
    """Write a bucket's shard, unless the one on disk was made of the same (`of`) and is whole."""
    path = shard_path(build_dir, bucket)
    content = digest([ROWS_VERSION, kind, n_buckets, of])
    if path.with_suffix(".json").exists() and path.exists():
        try:
            manifest = read_manifest(path)
            if manifest["content"] == content and manifest["sha256"] == file_sha256(path):
                return
        except (KeyError, TypeError, ValueError):
            pass  # A manifest that says nothing vouches for nothing.
    table = pa.Table.from_pylist(rows, schema=rows_schema(kind))
    counts = Counter(row["status"] for row in rows)
    write_shard(
        path,
        table,
        {
            "table": "rows",
            "kind": kind,
            "bucket": bucket,
            "n_buckets": n_buckets,
            "content": content,
            "counts": dict(sorted(counts.items())),
        },
    )


def remove_superseded(build_dir: Path, n_buckets: int) -> None:
    """Remove shards of buckets that there are no more. Manifests go first: a shard without one
    does not exist for any reader.
    """
    for path in shard_paths(build_dir / "rows"):
        if int(path.stem) >= n_buckets:
            path.with_suffix(".json").unlink()
    for path in (build_dir / "rows").glob("[0-9]*.parquet"):
        if int(path.stem) >= n_buckets:
            path.unlink()
