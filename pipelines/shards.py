"""Shards: one Parquet file of a table with a manifest beside it, written so that a crash shows.

The Parquet is written under a temporary name, synced and renamed; its manifest comes last. A shard
without a manifest was never finished and does not exist for any reader.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# Small row groups keep viewers and streaming readers fast on picture columns.
ROWS_PER_GROUP = 100


class ShardDamaged(Exception):
    """A shard on disk is not the one its manifest describes."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: temporary name, sync, rename, sync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def write_parquet(path: Path, batches: pa.Table, *, rows_per_group: int = 10_000) -> str:
    """Write a table to one Parquet file, whole or not at all. Returns its hex sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        pq.write_table(
            batches,
            temporary,
            compression="zstd",
            row_group_size=rows_per_group,
            write_page_index=True,
        )
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        digest = file_sha256(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return digest


def write_shard(path: Path, table: pa.Table, manifest: dict[str, Any]) -> None:
    """Write `<name>.parquet` and then `<name>.json`, which adds `rows` and `sha256` to `manifest`.

    Raises OSError (disk full, not writable) with nothing half-written left under the final names.
    """
    # A stale manifest must not vouch for the new Parquet while that is being replaced.
    path.with_suffix(".json").unlink(missing_ok=True)
    digest = write_parquet(path, table)
    write_json(path.with_suffix(".json"), {**manifest, "rows": table.num_rows, "sha256": digest})


def shard_paths(folder: Path, pattern: str = "*.parquet") -> list[Path]:
    """Finished shards of a table, sorted by name."""
    found = sorted(folder.glob(pattern)) if folder.is_dir() else []
    return [p for p in found if p.with_suffix(".json").is_file() and not p.name.startswith(".")]


def read_shard(path: Path) -> pa.Table:
    """Read a finished shard.

    Raises ShardDamaged, naming the file, when it is not, byte for byte, what its manifest states.
    """
    try:
        data = path.read_bytes()
        expected = read_manifest(path)["sha256"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ShardDamaged(
            f"{path}: cannot be read ({error!r}); delete it, it is made again"
        ) from error
    # Parquet has no checksums of its own: a flipped bit could pass for another score.
    if sha256(data).hexdigest() != expected:
        raise ShardDamaged(
            f"{path}: not the file its manifest describes; delete it, it is made again"
        )
    return pq.read_table(pa.BufferReader(data))


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest beside a shard."""
    return json.loads(path.with_suffix(".json").read_text("utf-8"))


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes, read in blocks."""
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sync_tree(folder: Path) -> None:
    """Make everything in a folder survive a power cut."""
    for place, _, names in os.walk(folder):
        for name in names:
            with open(Path(place) / name, "rb+") as file:
                os.fsync(file.fileno())
        sync_folder(Path(place))


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
