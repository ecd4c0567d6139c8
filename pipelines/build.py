"""A build: one run's folder, owned by one run at a time.

Layout: `build.json` (what is fixed at the first run), `rows/`, `pictures/`, a folder for each table
of answers, `journal/` while shards run, `dataset/`, `rejects/`, `manifest.json`, `logs/`.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pipelines.shards import write_json

Kind = Literal["gen", "edit"]
Row = dict[str, Any]
# Columns of a row's pictures, in the order in which a model sees them.
PICTURES: Mapping[Kind, tuple[str, ...]] = {
    "gen": ("image",),
    "edit": ("source_image", "edited_image"),
}


class BuildRefused(Exception):
    """A build folder that this run cannot use; the message says why and what to do."""


@contextmanager
def locked_build(path: Path) -> Iterator[Path]:
    """Own a build folder, making it when new. The lock goes with the process, however it ends.

    Raises BuildRefused when another run owns it or it cannot be written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise BuildRefused(f"{path}: cannot be written to ({error.strerror})") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 20, 0).decode().strip() or "unknown"
            raise BuildRefused(
                f"{path}: another run (process {owner}) is working on this build; "
                "wait for it, or give this run another 'output'"
            ) from None
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise BuildRefused(f"{path}: cannot be written to ({error.strerror})") from error
        try:
            yield path
        finally:
            # Not by closing alone: a child forked meanwhile holds a copy of the handle.
            fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def fixed_buckets(
    build: Path,
    kind: Kind | Literal["preferences"],
    *,
    wanted: int | None,
    rows: int,
    shard_rows: int,
) -> int:
    """The number of buckets of a build: read where it was fixed, else fixed now.

    `wanted` is the recipe's own number; without one there is a bucket for each `shard_rows` rows.
    Raises BuildRefused for a build of the other kind, or one that was fixed with another number.
    """
    path = build / "build.json"
    if not path.is_file():
        n = wanted or max(1, -(-rows // shard_rows))
        write_json(path, {"kind": kind, "buckets": n})
        return n
    fixed = read_build(build)
    if fixed["kind"] != kind:
        raise BuildRefused(f"{build}: holds a build-firm-{fixed['kind']} build, not {kind}")
    if wanted not in (None, fixed["buckets"]):
        raise BuildRefused(
            f"{build}: was begun with buckets: {fixed['buckets']}, the recipe says {wanted}; "
            "keep the number or take a new 'output'"
        )
    return fixed["buckets"]


def read_build(build: Path) -> dict[str, Any]:
    """`build.json`: `kind` and `buckets`. Raises BuildRefused for a folder that is no build."""
    try:
        fixed = json.loads((build / "build.json").read_text("utf-8"))
        return {"kind": fixed["kind"], "buckets": int(fixed["buckets"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BuildRefused(f"{build}: not a build folder ({error!r})") from error


def read_json(path: Path) -> Any:
    """A JSON file of a build (`manifest.json`, `audit.json`); None where there is none.

    Raises BuildRefused for one that cannot be read.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BuildRefused(f"{path}: cannot be read: {error}") from error
