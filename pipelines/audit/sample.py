"""Which rows a person scores: as many of each score as there are, drawn by a seed in one pass.

An even sample says more about rare scores than a fair one; `Stratum` keeps how many rows each of
its rows stands for.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from pipelines.audit.rubrics import axes_of
from pipelines.dataset_reading import Dataset, read_groups
from pipelines.identity import digest
from pipelines.replies import SCORES

K = TypeVar("K")
AUDIT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A row of the sample, and the file and row group that it stands in."""

    row_id: str
    axis: str | None
    path: Path
    group: int


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """Rows of one axis with one score: how many the build has, and how many were drawn."""

    axis: str | None
    score: int
    rows: int
    drawn: int

    @property
    def weight(self) -> float | None:
        """How many rows of the build each drawn row stands for; None where none was drawn."""
        return self.rows / self.drawn if self.drawn else None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An audit's rows in the order of the page, which tells nothing about their scores."""

    id: str
    seed: int
    rows: list[Drawn]
    strata: list[Stratum]

    def to_json(self) -> dict[str, Any]:
        """What is kept beside the page: enough to know the rows again, and their weights."""
        rows = [{"row_id": row.row_id, "axis": row.axis} for row in self.rows]
        strata = [asdict(s) | {"weight": s.weight} for s in self.strata]
        return {"audit": self.id, "seed": self.seed, "rows": rows, "strata": strata}


def draw_sample(dataset: Dataset, *, rows: int, seed: int) -> Sample:
    """Draw `rows` rows, evenly over axes and then over scores as far as there are enough of each.

    The same dataset and seed give the same sample, whatever the order of its files.
    """
    # A heap a stratum, of the rows with the smallest hashes; heapq keeps the largest at hand.
    kept: dict[tuple[str | None, int], list[tuple[int, str, Path, int]]] = {}
    sizes: Counter[tuple[str | None, int]] = Counter()
    for path, group, found in read_groups(dataset.paths, ["row_id", "axis", "score"]):
        for row in found:
            key = row.get("axis"), row["score"]
            sizes[key] += 1
            heap = kept.setdefault(key, [])
            place = -_hash("draw", seed, row["row_id"], key[0])
            push = heapq.heappush if len(heap) < rows else heapq.heappushpop
            push(heap, (place, row["row_id"], path, group))
    axes = axes_of(dataset.kind)
    shares = allocate(rows, {axis: sum(sizes[axis, s] for s in SCORES) for axis in axes})
    drawn: list[Drawn] = []
    strata: list[Stratum] = []
    for axis in axes:
        counts = allocate(shares[axis], {s: sizes[axis, s] for s in SCORES})
        mine = []
        for score, n in counts.items():
            strata.append(Stratum(axis=axis, score=score, rows=sizes[axis, score], drawn=n))
            smallest = sorted(kept.get((axis, score), []), reverse=True)[:n]
            mine += [
                Drawn(row_id=row_id, axis=axis, path=path, group=group)
                for _, row_id, path, group in smallest
            ]
        # Another hash than that of the draw, whose sizes tell how rare a row's score is.
        drawn += sorted(mine, key=lambda row: _hash("order", seed, row.row_id, row.axis))
    names = [[row.row_id, row.axis] for row in drawn]
    return Sample(
        id=digest([AUDIT_VERSION, seed, names])[:12], seed=seed, rows=drawn, strata=strata
    )


def allocate(total: int, sizes: Mapping[K, int]) -> dict[K, int]:
    """Split `total` as evenly as `sizes` allow; what some lack goes to those that have more.

    Where it cannot be even by one, the first get one more.
    """
    counts = dict.fromkeys(sizes, 0)
    left = min(total, sum(sizes.values()))
    while left:
        open_ = [key for key, size in sizes.items() if counts[key] < size]
        step = max(1, left // len(open_))
        for key in open_:
            more = min(step, sizes[key] - counts[key], left)
            counts[key] += more
            left -= more
    return counts


def _hash(what: str, seed: int, row_id: str, axis: str | None) -> int:
    return int.from_bytes(sha256(f"{what} {seed} {row_id} {axis or ''}".encode()).digest()[:8])
