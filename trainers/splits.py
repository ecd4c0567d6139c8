"""Training and validation rows of all datasets together, kept apart from one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import datasets
import pyarrow as pa

from pipelines.dataset_reading import DatasetUnreadable

SPLITS = ("train", "validation")
# The column that says what a row shares with others: its prompt or its source picture.
SHARED = "shared"
Tables = Mapping[str, Sequence[pa.Table]]
Facts = dict[str, Any]


def join_splits(
    parts: Sequence[Tables],
    facts: Sequence[Facts],
    as_examples: Callable[[dict[str, list[Any]]], Any],
) -> tuple[dict[str, datasets.Dataset], list[Facts]]:
    """The splits that have rows, which become examples when they are asked for, and what is known.

    `parts` are the tables of each dataset by split, with a column `SHARED`. A training row that
    shares it with a validation row of any of the datasets is left out: what is measured on the
    latter would else be of rows that were learnt. The facts of a dataset say how many rows of each
    split are used (`rows`), and how many were left out (`in_validation`).
    Raises DatasetUnreadable where there is nothing to learn from.
    """
    validated = [table for part in parts for table in part.get("validation", ())]
    known = {value for table in validated for value in table[SHARED].to_pylist()}
    joined: dict[str, list[pa.Table]] = {split: [] for split in SPLITS}
    told = []
    for part, fact in zip(parts, facts, strict=True):
        whole = {split: pa.concat_tables(some) for split, some in part.items() if some}
        kept = {**whole}
        if known and "train" in whole:
            apart = [value not in known for value in whole["train"][SHARED].to_pylist()]
            kept["train"] = whole["train"].filter(pa.array(apart, pa.bool_()))
        rows = {split: len(kept.get(split, ())) for split in part}
        left_out = len(whole.get("train", ())) - len(kept.get("train", ()))
        told.append({**fact, "rows": rows, "in_validation": left_out})
        for split, table in kept.items():
            joined[split].append(table.drop_columns([SHARED]))
    if not sum(map(len, joined["train"])):
        raise DatasetUnreadable(_nothing(told))
    splits = {
        split: datasets.Dataset(pa.concat_tables(some)).with_transform(as_examples)
        for split, some in joined.items()
        if sum(map(len, some))
    }
    return splits, told


def _nothing(facts: Sequence[Facts]) -> str:
    left_out = sum(fact["in_validation"] for fact in facts)
    why = f": all {left_out} share a prompt or source picture with a validation row"
    places = ", ".join(fact["path"] for fact in facts)
    return f"{places}: no rows of split 'train' to learn from{why if left_out else ''}"
