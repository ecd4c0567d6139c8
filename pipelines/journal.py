"""The journal of a shard: every finished reply, appended as one JSON line the moment it is there.

A killed process loses nothing that was written: the lines are in the file before the next row is
handled. Syncs to the disk itself go in batches, so a power cut costs at most the last second.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from pipelines.fast_json import dump_json, load_json

SYNC_EVERY_S = 1.0


class Journal:
    """Append-only replies of one shard and stage, keyed by answer id and kept in order.

    Used by one event loop; not safe from several threads. A last line cut short by a crash is
    dropped on opening; it was never acted on.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._replies: dict[str, list[dict[str, Any]]] = {}
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._end = self._load()
        self._synced_at = time.monotonic()

    def _load(self) -> int:
        end = 0
        with open(self.path, "rb") as file:
            for line in file:
                try:
                    entry = load_json(line)
                    replies = self._replies.setdefault(entry["answer_id"], [])
                except (ValueError, KeyError, TypeError):
                    # Only the line being written at the crash can be torn: nothing follows it.
                    break
                if not line.endswith(b"\n"):
                    break
                replies.append(entry)
                end += len(line)
        os.ftruncate(self._file, end)
        return end

    def replies(self, answer_id: str) -> list[dict[str, Any]]:
        """The replies that were there at opening for an answer, first attempt first, or none."""
        return self._replies.get(answer_id, [])

    def append(self, answer_id: str, entry: dict[str, Any]) -> None:
        """Keep one reply.

        Raises OSError (disk full); the file then ends with the last whole line.
        """
        entry = {"answer_id": answer_id, **entry}
        line = dump_json(entry) + b"\n"
        try:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError(28, "no space left on device", str(self.path))
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise
        self._end += len(line)
        now = time.monotonic()
        if now - self._synced_at > SYNC_EVERY_S:
            os.fdatasync(self._file)
            self._synced_at = now

    def close(self) -> None:
        """Sync and close. Safe to call twice."""
        if self._file >= 0:
            os.fdatasync(self._file)
            os.close(self._file)
            self._file = -1
