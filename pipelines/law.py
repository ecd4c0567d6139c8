"""The build law: every source row ends in exactly one of dataset, rejects and duplicates.

Checked by ids, from the files on disk, at the end of a run and whenever a build is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipelines.build import read_build
from pipelines.dataset_reading import read_columns
from pipelines.rendering import AXES
from pipelines.rows import shard_path
from pipelines.shards import shard_paths


class LawBroken(Exception):
    """Rows were lost, doubled or came from nowhere; the message has counts and examples."""


@dataclass(frozen=True, kw_only=True)
class Law:
    """The sizes of the four sets, in rows of the dataset's own grain (edits: two a source row)."""

    source: int
    dataset: int
    rejected: int
    duplicates: int


def check_law(build: Path) -> Law:
    """Compare source ids with dataset, rejected and duplicate ids, as sets.

    Raises LawBroken naming up to three ids, BuildRefused for a folder that is no build,
    DatasetUnreadable naming a file that cannot be read.
    """
    fixed = read_build(build)
    axes = AXES if fixed["kind"] == "edit" else ("",)
    shards = {path.name for path in shard_paths(build / "rows")}
    absent = [b for b in range(fixed["buckets"]) if shard_path(build, b).name not in shards]
    if absent:
        raise LawBroken(
            f"{build}: rows/ has no finished shard for {len(absent)} buckets: {absent[:3]}"
        )
    rows = _read(build / "rows", ["row_id", "status"])
    source = _with_axes(rows.select("row_id"), axes)
    duplicates = _with_axes(rows.filter(pl.col("status") == "duplicate").select("row_id"), axes)
    dataset = _ids(build / "dataset", axes)
    rejected = _ids(build / "rejects", axes)
    ended = pl.concat([dataset, rejected, duplicates])
    doubled = ended.filter(ended.is_duplicated()).unique()
    again = source.filter(source.is_duplicated()).unique()
    lost = source.join(ended, on=["row_id", "axis"], how="anti")
    unknown = ended.join(source, on=["row_id", "axis"], how="anti")
    faults = {"doubled": doubled, "doubled in rows/": again, "lost": lost, "from nowhere": unknown}
    broken = [describe_ids(what, frame) for what, frame in faults.items() if frame.height]
    if broken:
        raise LawBroken(f"{build}: the build law does not hold: {'; '.join(broken)}")
    return Law(
        source=source.height,
        dataset=dataset.height,
        rejected=rejected.height,
        duplicates=duplicates.height,
    )


def _read(folder: Path, columns: list[str]) -> pl.DataFrame:
    files = sorted(folder.glob("*.parquet")) if folder.is_dir() else []
    schema = dict.fromkeys(columns, pl.String)
    if not files:
        return pl.DataFrame(schema=schema)
    return pl.concat([pl.DataFrame(read_columns(file, columns)).cast(pl.String) for file in files])


def _ids(folder: Path, axes: tuple[str, ...]) -> pl.DataFrame:
    if axes == ("",):
        return _with_axes(_read(folder, ["row_id"]), axes)
    return _read(folder, ["row_id", "axis"]).select("row_id", "axis")


def _with_axes(ids: pl.DataFrame, axes: tuple[str, ...]) -> pl.DataFrame:
    return ids.join(pl.DataFrame({"axis": list(axes)}), how="cross").select("row_id", "axis")


def describe_ids(what: str, frame: pl.DataFrame) -> str:
    """How many rows are at fault, and up to three of them by id and axis."""
    # Joins and `unique` keep no order, and a message that changes from run to run misleads.
    first = frame.sort("row_id", "axis").head(3)
    examples = ", ".join("/".join(filter(None, row)) for row in first.iter_rows())
    return f"{frame.height} {what} ({examples})"
