"""Which rows the page shows: a seeded sample in which rare kinds are seen.

Two passes over the Parquet, row group by row group: a light one that chooses, and one that reads
the groups with a chosen row. A build of any size is never held whole.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.dataset_reading import read_groups, reading

# Kept or not, axis, and score or reject reason.
Stratum = tuple[bool, str, str]
REJECTS_AT_MOST = 1 / 3


@dataclass(frozen=True, kw_only=True, order=True)
class Pick:
    """A chosen row: `order` is random but seeded, and the same for all axes of an edit."""

    order: str
    path: Path
    group: int
    index: int
    kept: bool


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The chosen rows in order, and how many were chosen of how many."""

    picks: list[Pick]
    kept: tuple[int, int]
    rejects: tuple[int, int]


def pick_rows(build: Path, *, rows: int, seed: int) -> Sample:
    """Choose at most `rows` rows of `dataset/` and `rejects/`.

    Rejects are at most a third of them while there are enough others. Inside either, every score
    on every axis, and every reject reason, has the same share, and what a rare one leaves free goes
    to the others. All axes of a row come early or late together, so that most pairs are whole.
    """
    totals: dict[Stratum, int] = {}
    best: dict[Stratum, list[tuple[int, Pick]]] = {}
    for stratum, pick in _all_rows(build, seed):
        totals[stratum] = totals.get(stratum, 0) + 1
        # A heap of the `rows` smallest: its root is the largest of them, so numbers are negated.
        heap = best.setdefault(stratum, [])
        entry = (-int(pick.order, 16), pick)
        (heapq.heappush if len(heap) < rows else heapq.heappushpop)(heap, entry)
    kept = {stratum: n for stratum, n in totals.items() if stratum[0]}
    rejects = {stratum: n for stratum, n in totals.items() if not stratum[0]}
    n_rejects = max(int(rows * REJECTS_AT_MOST), rows - sum(kept.values()))
    shares = share_out(rejects, n_rejects)
    n_rejects = sum(shares.values())
    shares |= share_out(kept, rows - n_rejects)
    chosen = [
        pick for stratum, n in shares.items() for _, pick in sorted(best[stratum], reverse=True)[:n]
    ]
    chosen.sort(key=lambda pick: (not pick.kept, pick))
    return Sample(
        picks=chosen,
        kept=(len(chosen) - n_rejects, sum(kept.values())),
        rejects=(n_rejects, sum(rejects.values())),
    )


def share_out(sizes: Mapping[Stratum, int], n: int) -> dict[Stratum, int]:
    """How many of `n` each stratum gets: equal shares, and never more than it has."""
    shares = {}
    for i, (stratum, size) in enumerate(sorted(sizes.items(), key=lambda s: (s[1], s[0]))):
        shares[stratum] = min(size, n // (len(sizes) - i))
        n -= shares[stratum]
    return shares


def _all_rows(build: Path, seed: int) -> Iterator[tuple[Stratum, Pick]]:
    for folder, what in (("dataset", "score"), ("rejects", "reason")):
        kept = folder == "dataset"
        paths = sorted((build / folder).glob("*.parquet"))
        for path, group, rows in read_groups(paths, ["row_id", "axis", what]):
            for i, row in enumerate(rows):
                order = sha256(f"{seed}/{row['row_id']}".encode()).hexdigest()[:16]
                pick = Pick(order=order, path=path, group=group, index=i, kept=kept)
                yield (kept, row.get("axis") or "", str(row[what])), pick


def read_picks(
    picks: Sequence[Pick], *, only: Sequence[str] = (), but: Sequence[str] = ()
) -> Iterator[tuple[Pick, dict[str, Any]]]:
    """The chosen rows, one row group in memory at a time, with the columns `only` or all `but`."""
    groups: dict[tuple[Path, int], list[Pick]] = {}
    for pick in picks:
        groups.setdefault((pick.path, pick.group), []).append(pick)
    for (path, group), mine in sorted(groups.items(), key=lambda item: item[0]):
        with reading(f"{path}: row group {group}"), pq.ParquetFile(path) as file:
            names = [n for n in file.schema_arrow.names if n not in but and n in (only or (n,))]
            table = file.read_row_group(group, columns=names)
        for pick in mine:
            yield pick, table.slice(pick.index, 1).to_pylist()[0]
