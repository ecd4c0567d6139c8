"""What a benchmark is here: rows to be scored, and what people said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.build import Kind
from pipelines.identity import digest
from pipelines.rendering import AXES, GEN_AXIS
from pipelines.shards import file_sha256

Human = Literal["first", "second", "tie"]
# The axis of pairs that were compared as a whole: both axes of an edit go into its reward.
OVERALL = "overall"


@dataclass(frozen=True, kw_only=True)
class Item:
    """A row's true score, 1 to 5, on one axis: execution, consistency or gen.

    `part` is a part of the benchmark that is reported by itself, such as `easy`; empty: there are
    none. Items of one `group` share a picture or a prompt.
    """

    id: str
    row: str
    axis: str
    part: str
    group: str
    true: int


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Which of two rows people preferred on an axis: of an edit's, `overall`, or gen.

    `id`, `part` and `group` as in `Item`.
    """

    id: str
    first: str
    second: str
    axis: str
    part: str
    group: str
    human: Human


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of a benchmark by id, each by our column names; pictures are absolute paths.

    `places` says where in which file a row stands.
    """

    kind: Kind
    by_id: Mapping[str, Mapping[str, str]]
    places: Mapping[str, str]


def asked_axes(axis: str) -> tuple[str, ...]:
    """The axes that a row must be scored on, for what is measured on one."""
    return AXES if axis == OVERALL else (axis,)


def wanted_axes(measured: Sequence[Item | Pair]) -> dict[str, tuple[str | None, ...]]:
    """The axes that each row is asked about, None for the one of a generated picture."""
    found: dict[str, dict[str | None, None]] = {}
    for one in measured:
        for row in (one.row,) if isinstance(one, Item) else (one.first, one.second):
            axes = (None if axis == GEN_AXIS else axis for axis in asked_axes(one.axis))
            found.setdefault(row, {}).update(dict.fromkeys(axes))
    return {row: tuple(axes) for row, axes in found.items()}


def group_of(prompt: str) -> str:
    """A short name for the rows that share a prompt."""
    return digest(prompt)[:16]


def group_of_picture(path: str) -> str:
    """The same of a picture, by its bytes: one under two names is one. Raises OSError."""
    return file_sha256(Path(path))[:16]
