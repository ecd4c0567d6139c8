"""The preference law: every labelled row ends as pairs, as a hard case or with a reason, once.

Checked by ids, from the files on disk, at the end of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipelines.law import LawBroken, describe_ids
from pipelines.shards import shard_paths

_KEY: list[str] = ["row_id", "axis"]


@dataclass(frozen=True, kw_only=True)
class PreferenceLaw:
    """The sizes of the four sets of rows, and how many pairs the paired ones make."""

    labelled: int
    paired: int
    hard: int
    unpaired: int
    pairs: int


def check_preference_law(build: Path, *, n_buckets: int, most_pairs: int) -> PreferenceLaw:
    """Compare the ids of labelled rows with those of paired, hard and unpaired ones, as sets.

    Raises LawBroken naming up to three ids.
    """
    shards = shard_paths(build / "rows")
    if len(shards) != n_buckets:
        raise LawBroken(f"{build}: rows/ has {len(shards)} finished shards of {n_buckets}")
    labelled = _keys(shards)
    pairs = _keys(sorted((build / "preferences").glob("*.parquet")))
    paired = pairs.unique()
    hard = _keys(sorted((build / "hard").glob("*.parquet")))
    unpaired = _keys(sorted((build / "unpaired").glob("*.parquet")))
    ended = pl.concat([paired, hard, unpaired])
    faults = {
        "doubled": ended.filter(ended.is_duplicated()).unique(),
        "doubled in rows/": labelled.filter(labelled.is_duplicated()).unique(),
        "lost": labelled.join(ended, on=_KEY, how="anti"),
        "from nowhere": ended.join(labelled, on=_KEY, how="anti"),
        f"with more than {most_pairs} pairs": pairs.group_by(_KEY)
        .len()
        .filter(pl.col("len") > most_pairs)
        .select(_KEY),
    }
    broken = [describe_ids(what, frame) for what, frame in faults.items() if frame.height]
    if broken:
        raise LawBroken(f"{build}: the preference law does not hold: {'; '.join(broken)}")
    return PreferenceLaw(
        labelled=labelled.height,
        paired=paired.height,
        hard=hard.height,
        unpaired=unpaired.height,
        pairs=pairs.height,
    )


def _keys(paths: Sequence[Path]) -> pl.DataFrame:
    """Row ids and axes; one that is null is '', since null equals nothing in a join."""
    schema = dict.fromkeys(_KEY, pl.String)
    frames = [pl.read_parquet(path, columns=_KEY).cast(pl.String) for path in paths]
    return pl.concat([pl.DataFrame(schema=schema), *frames]).with_columns(
        pl.col("axis").fill_null("")
    )
