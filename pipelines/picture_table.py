"""The table `pictures/`: what was learnt of each picture, so that it is learnt once.

A run reads it into a temporary index on disk, adds what it learns, and writes a shard now and then:
killed anywhere, it loses the last few hundred pictures at most. A file is known by path, size and
modification time, a picture inside a row by its bytes' sha256, a download by its URL.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.picture_pool import Learnt
from pipelines.picture_refs import PictureRef
from pipelines.pictures import PictureRejected
from pipelines.shards import read_shard, shard_paths, write_shard

# A picture in any row of any table. Sizes in pixels, the original's as its header states them;
# `phash` and `colour` are described in picture_hash; `seen_*` is what the model sees.
PICTURE_TYPE = pa.struct(
    [
        ("sha256", pa.string()),
        ("path", pa.string()),
        ("bytes_size", pa.int64()),
        ("format", pa.string()),
        ("mode", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("notes", pa.list_(pa.string())),
        ("phash", pa.string()),
        ("colour", pa.string()),
        ("seen_sha256", pa.string()),
        ("seen_path", pa.string()),
        ("seen_format", pa.string()),
        ("seen_width", pa.int32()),
        ("seen_height", pa.int32()),
    ]
)
PICTURE_NAMES = tuple(field.name for field in PICTURE_TYPE)
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("limits", pa.string()),
        ("seen_bytes_size", pa.int64()),
        *((field.name, field.type) for field in PICTURE_TYPE),
    ]
)
SHARD_PICTURES = 500
SHARD_SECONDS = 30.0


def picture_key(ref: PictureRef) -> str:
    """What a picture is known by from one run to the next.

    Raises: PictureRejected `picture:missing` for a path that is no regular file.
    """
    if ref.data is not None:
        return f"sha256:{ref.raw_sha256}"
    if ref.url is not None:
        return f"url:{ref.url}"
    try:
        facts = os.stat(str(ref.path))
    except (OSError, ValueError) as error:
        raise PictureRejected("picture:missing", f"{ref.path}: {error}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise PictureRejected("picture:missing", f"{ref.path} is not a file")
    return f"file:{facts.st_size}:{facts.st_mtime_ns}:{ref.path}"


class PictureTable:
    """What is known of pictures under one set of limits; use as a context manager.

    Rejected pictures are remembered for this run only: what is wrong may be mended by the next.
    """

    def __init__(self, build_dir: Path, limits: str) -> None:
        self._folder = build_dir / "pictures"
        self._limits = limits
        self._new: list[dict[str, Any]] = []
        self._last_write = time.monotonic()
        # An empty name is a private temporary file: memory stays flat with millions of pictures.
        self._index = sqlite3.connect("", isolation_level=None)
        self._index.execute("PRAGMA journal_mode = OFF")
        self._index.execute("CREATE TABLE learnt (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
        self._next = 0
        for path in shard_paths(self._folder):
            self._next = int(path.stem) + 1
            self._load(path)

    def find(self, key: str) -> Learnt | None:
        """What was learnt, or None if it is not known or one of its files is gone or cut short."""
        found = self._index.execute("SELECT value FROM learnt WHERE key = ?", (key,)).fetchone()
        if found is None:
            return None
        value = json.loads(found[0])
        if "reason" in value:
            return Learnt(**value)
        files = [(value["seen_path"], value["seen_bytes_size"]), (value["path"], None)]
        if not key.startswith("file:"):
            files[1] = (value["path"], value["bytes_size"])
        return Learnt(facts=value) if all(_is_whole(*file) for file in files) else None

    def add(self, key: str, learnt: Learnt) -> None:
        """Remember; writes a shard when enough is new. Raises OSError when that cannot be done."""
        facts = learnt.facts
        if facts is None:
            value = {"reason": learnt.reason, "detail": learnt.detail, "sha256": learnt.sha256}
        else:
            value = facts
            self._new.append({"key": key, "limits": self._limits, **facts})
        self._remember([(key, json.dumps(value))])
        waited = time.monotonic() - self._last_write
        if len(self._new) >= SHARD_PICTURES or waited >= SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is new to a shard."""
        self._last_write = time.monotonic()
        if not self._new:
            return
        table = pa.Table.from_pylist(self._new, schema=_SCHEMA)
        path = self._folder / f"{self._next:05d}.parquet"
        write_shard(path, table, {"table": "pictures", "limits": self._limits})
        self._next += 1
        self._new = []

    def __enter__(self) -> PictureTable:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.flush()
        finally:
            self._index.close()

    def _load(self, path: Path) -> None:
        rows = read_shard(path).to_pylist()
        ours = [row for row in rows if row["limits"] == self._limits]
        self._remember([(row.pop("key"), json.dumps(row)) for row in ours])

    def _remember(self, pairs: list[tuple[str, str]]) -> None:
        self._index.execute("BEGIN")
        self._index.executemany("INSERT OR REPLACE INTO learnt VALUES (?, ?)", pairs)
        self._index.execute("COMMIT")


def _is_whole(path: str, size: int | None) -> bool:
    try:
        return size is None or os.stat(path).st_size == size
    except OSError:
        return False
