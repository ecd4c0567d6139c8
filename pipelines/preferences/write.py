"""From finished answers to `preferences/`, `hard/` and `unpaired/`: written anew by each run.

Twice through the buckets, from disk alone: first every pair with its label, then, once balance has
said which stand, the rows with their pictures. Memory holds the pictures of a row group at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.balance import Balanced, choose_rows, with_counts
from pipelines.build import Kind
from pipelines.dataset_files import SplitWriter
from pipelines.dataset_settings import Balance
from pipelines.preferences.mining import Mined, name_of, read_mined
from pipelines.preferences.pair_rows import (
    UNPAIRED_SCHEMA,
    hard_row,
    hard_schema,
    pair_row,
    pair_schema,
    picture_cells,
    unpaired_row,
)
from pipelines.preferences.recipe import PreferenceRecipe
from pipelines.preferences.rules import Pair, PairRules
from pipelines.preferences.tally import Tally
from pipelines.shards import made_anew, replace_folder, sync_tree
from pipelines.stages import Stage

FOLDERS = {"preferences": pair_schema, "hard": hard_schema, "unpaired": lambda: UNPAIRED_SCHEMA}
_INDEX = {
    "row_id": pl.String,
    "split": pl.String,
    "axis": pl.String,
    "score": pl.Int64,
}


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written, for the manifest: counts, balance by split and axis, rows a file."""

    tally: dict[str, Any]
    balance: list[dict[str, Any]]
    files: dict[str, dict[str, int]]


def write_preferences(
    build: Path,
    kind: Kind,
    recipe: PreferenceRecipe,
    stages: Mapping[str, Stage],
    *,
    splits: Sequence[str],
    n_buckets: int,
) -> Written:
    """Write the three folders beside the old ones, then put them in place.

    Raises NotAsked, DatasetUnreadable (a picture), OSError (disk full). The old ones stand
    untouched until all is written; where a run ends while they are being replaced, there is no
    manifest.
    """
    stands, balanced = _choose(build, kind, recipe, stages, n_buckets)
    fresh = {name: build / f".{name}.new" for name in FOLDERS}
    tally = Tally()
    with made_anew(*fresh.values()):
        writers = {
            (name, split): SplitWriter(fresh[name], split, make_schema(), recipe.shard_rows)
            for name, make_schema in FOLDERS.items()
            for split in splits
        }
        for bucket in range(n_buckets):
            for mined in read_mined(build, bucket, kind, stages, recipe.pairs):
                kept = [p for n, p in enumerate(mined.pairs) if _pair_name(mined, n) in stands]
                _write_row(mined, kept, writers, tally, recipe.pairs)
        files: dict[str, dict[str, int]] = {name: {} for name in FOLDERS}
        for (name, _), writer in writers.items():
            files[name] |= writer.close()
        for folder in fresh.values():
            sync_tree(folder)
    # The old manifest must not vouch for the new files; the new one comes last.
    (build / "manifest.json").unlink(missing_ok=True)
    for name, folder in fresh.items():
        replace_folder(folder, build / name)
    return Written(tally=tally.as_json(), balance=[asdict(one) for one in balanced], files=files)


def _choose(
    build: Path,
    kind: Kind,
    recipe: PreferenceRecipe,
    stages: Mapping[str, Stage],
    n_buckets: int,
) -> tuple[set[str], list[Balanced]]:
    """The names of the pairs that balance keeps, and what it did."""
    pairs = [
        (_pair_name(mined, n), mined.row["split"], mined.row["axis"], mined.row["label_score"])
        for bucket in range(n_buckets)
        for mined in read_mined(build, bucket, kind, stages, recipe.pairs)
        for n in range(len(mined.pairs))
    ]
    return balance_pairs(pairs, recipe.balance)


def balance_pairs(
    pairs: Sequence[tuple[str, str, str | None, int]], balance: Balance
) -> tuple[set[str], list[Balanced]]:
    """Balance pairs over labels in each split and axis, by (name, split, axis, label) of each.

    Returns the names of those that stand, and what was done. A pure function.
    """
    kept, balanced = choose_rows(
        pl.DataFrame(pairs, schema=_INDEX, orient="row"),
        balance.shares(),
        tolerance=balance.tolerance,
        least_kept=balance.least_kept,
        seed=balance.seed,
    )
    stands = {pair[0] for pair, keep in zip(pairs, kept, strict=True) if keep}
    # No pair leaves after this, so what was chosen is what is written.
    return stands, [with_counts(one, one.after) for one in balanced]


def _pair_name(mined: Mined, n: int) -> str:
    return f"{name_of(mined.row)}/{n}"


def _write_row(
    mined: Mined,
    kept: list[Pair],
    writers: Mapping[tuple[str, str], SplitWriter],
    tally: Tally,
    rules: PairRules,
) -> None:
    split = mined.row["split"]
    reason, detail = mined.reason, None
    if mined.pairs and not kept:
        reason, detail = (
            "balance:quota",
            f"there are enough pairs of label {mined.row['label_score']}",
        )
    if kept:
        images = picture_cells(mined.row)
        rows = [{**pair_row(mined, pair), "images": images} for pair in kept]
        writers["preferences", split].write(rows)
    elif mined.hard:
        row = {**hard_row(mined), "images": picture_cells(mined.row)}
        writers["hard", split].write([row])
    else:
        writers["unpaired", split].write([unpaired_row(mined, str(reason), detail)])
    tally.add(mined, rules)
    tally.end(mined, kept, reason if not kept else None)
