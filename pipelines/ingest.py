"""From sources to `rows/`: every row read once, every picture learnt once, nothing lost.

Rows stream through a bounded window, in which their pictures are prepared by other processes, to a
spool on disk by bucket; then each bucket is numbered and written.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.build import Kind
from pipelines.identity import digest
from pipelines.picture_pool import Learnt, PicturePool
from pipelines.picture_refs import PictureRef
from pipelines.picture_table import PICTURE_NAMES, PictureTable, picture_key
from pipelines.picture_worker import Workplace, limits_digest
from pipelines.pictures import PictureLimits, PictureRejected
from pipelines.recipe import EditRecipe, Recipe
from pipelines.rewrites import rewritten_rows
from pipelines.rows import (
    Spool,
    identify,
    kind_of,
    place_row,
    read_rows,
    remove_superseded,
    write_rows,
)
from pipelines.settings import ImageLimits
from pipelines.sources import PICTURE_COLUMNS, RawRow, clean_text, read_source

WINDOW_ROWS = 256
WINDOW_BYTES = 256 * 1024 * 1024
PROGRESS_SECONDS = 0.2

__all__ = ["IngestSummary", "ingest", "picture_limits", "read_rows"]


@dataclass(frozen=True, kw_only=True)
class IngestSummary:
    """What became of the source rows. `by_reason` covers the rejected ones."""

    rows: int
    by_status: dict[str, int]
    by_reason: dict[str, int]
    pictures_learnt: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A picture of a row in the window: known already, or being learnt."""

    key: str
    answer: Learnt | Future[Learnt]


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    """A row in the window."""

    source: str
    license: str | None
    raw: RawRow
    pictures: dict[str, _Asked]
    held_bytes: int


@dataclass(kw_only=True)
class _Learner:
    """Asks the pool for what the table does not know, each picture once."""

    table: PictureTable
    pool: PicturePool
    in_flight: dict[str, Future[Learnt]] = field(default_factory=dict)
    learnt: int = 0

    def ask(self, ref: PictureRef) -> _Asked:
        try:
            key = picture_key(ref)
        except PictureRejected as error:
            return _Asked(key="", answer=Learnt(reason=error.reason, detail=error.detail))
        if key in self.in_flight:
            return _Asked(key=key, answer=self.in_flight[key])
        known = self.table.find(key)
        if known is not None:
            return _Asked(key=key, answer=known)
        self.in_flight[key] = self.pool.learn(ref)
        return _Asked(key=key, answer=self.in_flight[key])

    def settle(self, asked: _Asked) -> Learnt:
        """Wait for a picture. Raises OSError when the build's folder cannot be written."""
        if isinstance(asked.answer, Learnt):
            return asked.answer
        learnt = asked.answer.result()
        if self.in_flight.pop(asked.key, None) is not None:
            self.table.add(asked.key, learnt)
            self.learnt += learnt.facts is not None
        return learnt


def ingest(
    recipe: Recipe,
    build_dir: Path,
    *,
    n_buckets: int,
    validation_share: float,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
    total: int | None = None,
) -> IngestSummary:
    """Write `rows/`, one shard a bucket, and `pictures/` of the sources as they are now.

    A shard whose content has not changed is left alone. `on_progress` gets rows done and `total`,
    which is only passed through, a few times a second.

    Raises: SourceError for a source that is damaged midway; OSError when the build's folder cannot
    be written. Either leaves what was learnt of pictures, and the next run takes it up.
    """
    started = time.monotonic()
    build_dir = build_dir.absolute()
    kind = kind_of(recipe)
    incoming = build_dir / "rows" / ".incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    spool = Spool(incoming)
    limits = picture_limits(recipe.images)
    place = Workplace(build_dir=str(build_dir), limits=limits, allow_http=recipe.images.allow_http)
    done = 0
    said = 0.0
    with (
        PictureTable(build_dir, limits_digest(limits)) as table,
        PicturePool(place, workers=recipe.images.workers) as pool,
    ):
        learner = _Learner(table=table, pool=pool)
        for waiting in _in_window(recipe, learner):
            row, shared = _finish(waiting, kind, recipe, learner)
            bucket, row["split"] = place_row(shared, n_buckets, validation_share)
            spool.add(bucket, row)
            done += 1
            if time.monotonic() - said > PROGRESS_SECONDS:
                said = time.monotonic()
                on_progress(done, total)
    spool.flush()
    statuses, reasons = _write_buckets(build_dir, spool, recipe, n_buckets)
    remove_superseded(build_dir, n_buckets)
    shutil.rmtree(incoming)
    on_progress(done, total)
    return IngestSummary(
        rows=done,
        by_status=statuses,
        by_reason=reasons,
        pictures_learnt=learner.learnt,
        seconds=time.monotonic() - started,
    )


def picture_limits(images: ImageLimits) -> PictureLimits:
    """The part of a recipe's image limits that decides how a picture is prepared."""
    return PictureLimits(
        max_side_px=images.max_side_px,
        max_pixels=images.max_pixels,
        over_limit=images.over_limit,
        max_source_pixels=images.max_source_pixels,
        max_aspect_ratio=images.max_aspect_ratio,
        max_bytes=images.max_bytes,
    )


def _in_window(recipe: Recipe, learner: _Learner) -> Iterator[_Waiting]:
    """All rows in source order, each given out when enough later ones have been asked for."""
    window: deque[_Waiting] = deque()
    held = 0
    needed = recipe.columns_needed()
    for source in recipe.sources:
        rows = read_source(source, needed, allow_http=recipe.images.allow_http)
        for raw in rows:
            refs = {n: v for n, v in raw.values.items() if isinstance(v, PictureRef)}
            # A row that is rejected anyway costs no picture work.
            asked = {n: learner.ask(ref) for n, ref in refs.items()} if raw.fault is None else {}
            size = sum(len(ref.data or b"") for ref in refs.values())
            window.append(
                _Waiting(
                    source=source.name or source.path,
                    license=source.license,
                    raw=raw,
                    pictures=asked,
                    held_bytes=size,
                )
            )
            held += size
            while len(window) > WINDOW_ROWS or (held > WINDOW_BYTES and window):
                held -= window[0].held_bytes
                yield window.popleft()
    yield from window


def _finish(
    waiting: _Waiting, kind: Kind, recipe: Recipe, learner: _Learner
) -> tuple[dict[str, Any], str]:
    """The row as `rows/` has it, with its `content` for an id, and the key of its bucket."""
    raw = waiting.raw
    learnt = {name: learner.settle(asked) for name, asked in waiting.pictures.items()}
    fault = raw.fault
    for name, found in learnt.items():
        if found.facts is None and fault is None:
            fault = (found.reason, f"{name}: {found.detail}")
    texts, digests = [], []
    for name in recipe.columns_needed():
        value = raw.values.get(name)
        if name in PICTURE_COLUMNS:
            digests.append(_picture_sha256(value, learnt.get(name)))
        else:
            texts.append(value)
    content = [kind, texts, [*digests, raw.raw_sha256] if raw.raw_sha256 else digests]
    row: dict[str, Any] = {
        "content": content,
        "status": "ok" if fault is None else "rejected",
        "reason": fault[0] if fault else None,
        "detail": clean_text(fault[1]) if fault else None,
        "source": waiting.source,
        "source_index": raw.index,
        "source_id": raw.source_id,
        "license": waiting.license,
        "notes": [
            f"{name}:{note}"
            for name, found in learnt.items()
            for note in (found.facts or {}).get("notes", [])
        ],
        "metadata": raw.metadata_json,
    }
    for name in recipe.columns_needed():
        value = raw.values.get(name)
        if name not in PICTURE_COLUMNS:
            row[name] = clean_text(value) if isinstance(value, str) else None
        elif fault is None:
            facts = learnt[name].facts or {}
            row[name] = {key: facts[key] for key in PICTURE_NAMES}
    return row, _shared_key(kind, raw, learnt) or digest(content)


def _picture_sha256(value: Any, learnt: Learnt | None) -> str | None:
    """Of the picture's bytes where they could be read, else of the reference to it."""
    if learnt is not None and (learnt.facts or learnt.sha256):
        return learnt.facts["sha256"] if learnt.facts else learnt.sha256
    return value.raw_sha256 if isinstance(value, PictureRef) else None


def _shared_key(kind: Kind, raw: RawRow, learnt: dict[str, Learnt]) -> str | None:
    """What rows of one bucket share: the prompt, or the source picture; None without it."""
    if kind == "gen":
        prompt = raw.values.get("prompt")
        return prompt if isinstance(prompt, str) and prompt.strip() else None
    source = learnt.get("source_image")
    return source.facts["sha256"] if source and source.facts else None


def _write_buckets(
    build_dir: Path, spool: Spool, recipe: Recipe, n_buckets: int
) -> tuple[dict[str, int], dict[str, int]]:
    """Write every bucket's shard. Returns source rows by status, and rejected ones by reason."""
    statuses: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for bucket in range(n_buckets):
        spooled, of = spool.read(bucket)
        rows = identify(spooled)
        statuses.update(row["status"] for row in rows)
        reasons.update(row["reason"] for row in rows if row["status"] == "rejected")
        if isinstance(recipe, EditRecipe) and recipe.rewrites.per_row:
            rows += rewritten_rows(rows, recipe.rewrites)
            of = digest([of, recipe.rewrites.per_row])
        write_rows(build_dir, bucket, rows, kind=kind_of(recipe), n_buckets=n_buckets, of=of)
    return dict(sorted(statuses.items())), dict(sorted(reasons.items()))
