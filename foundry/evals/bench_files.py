"""Reading the files of a benchmark that others published, by our names of their columns.

A benchmark is read whole or not at all: what is wrong with it is told by file, line and column. Of
a line only the columns that are needed are kept, and of a picture inside the file only where it was
written to, so that memory does not grow with the pictures.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipelines.picture_refs import read_reference
from pipelines.picture_worker import store
from pipelines.pictures import PictureRejected
from pipelines.replies import SCORES
from pipelines.source_files import (
    Record,
    SourceError,
    jsonl_records,
    parquet_records,
    parquet_types,
)
from pipelines.sources import clean_text

# Ours that hold pictures.
PICTURES = ("image", "source_image", "edited_image", "first_image", "second_image")


class BenchRefused(Exception):
    """A benchmark that cannot be used; the message names file, line and column."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a benchmark's file. `columns` maps our names to the file's.

    A name with dots reaches into what a column holds: `output_images.0`, `human.execution`. A
    picture that stood in the file itself is the path of the file it was written to.
    """

    file: Path
    number: int
    values: dict[str, Any] = field(repr=False)
    columns: Mapping[str, str] = field(repr=False)

    @property
    def place(self) -> str:
        """File and line, as messages name them."""
        return f"{self.file}, line {self.number}"

    def refused(self, ours: str, what: str) -> BenchRefused:
        """The error for what is wrong with a column."""
        theirs = self.columns[ours]
        named = f"'{theirs}'" if theirs == ours else f"'{theirs}' ({ours})"
        return BenchRefused(f"{self.place}, column {named}: {what}")

    def value(self, ours: str) -> Any:
        """What a column holds, None where it holds nothing or is not there."""
        return _reach(self.values, self.columns[ours])

    def text(self, ours: str) -> str:
        """A text that is not empty. Raises BenchRefused."""
        value = self.value(ours)
        if not isinstance(value, str) or not value.strip():
            raise self.refused(ours, f"no text: {_shown(value)}")
        return value

    def name(self, ours: str) -> str:
        """An id or a label, written as text or as a whole number. Raises BenchRefused."""
        value = self.value(ours)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return clean_text(self.text(ours))

    def score(self, ours: str) -> int:
        """A human score, 1 to 5. Raises BenchRefused."""
        value = self.value(ours)
        whole = isinstance(value, int | float) and not isinstance(value, bool)
        if not whole or value not in SCORES:
            raise self.refused(ours, f"{_shown(value)} is not a score: a whole number, 1 to 5")
        return int(value)

    def picture(self, ours: str, root: Path) -> str:
        """The absolute path of a picture.

        `root` is the folder that paths are relative to and stay in. Raises BenchRefused.
        """
        value = self.value(ours)
        if isinstance(value, Path):
            return str(value)
        try:
            path = read_reference(value, root=os.path.realpath(root), allow_http=False).path
        except PictureRejected as error:
            raise self.refused(ours, error.detail) from None
        if path is None or not os.path.isfile(path):
            raise self.refused(ours, f"no such picture: {_shown(value)} (image root {root})")
        return path

    def with_pictures_in(self, folder: Path) -> Line:
        """The same with the pictures that stand in it written out, each named by its sha256.

        Raises BenchRefused for what can be no picture.
        """
        written = dict(self.values)
        for ours, theirs in self.columns.items():
            if ours not in PICTURES or (value := self.value(ours)) is None:
                continue
            try:
                # Whether a path may be read is asked when it is.
                ref = read_reference(value, root=os.sep, allow_http=True)
            except PictureRejected as error:
                if error.reason == "source:missing_value":
                    continue
                raise self.refused(ours, error.detail) from None
            if ref.data is not None:
                path = folder.absolute() / ref.raw_sha256[:2] / ref.raw_sha256
                written[theirs] = Path(store(path, ref.data))
        return replace(self, values=written)


def read_lines(
    file: Path,
    columns: Mapping[str, str],
    *,
    needed: Sequence[str],
    optional: Sequence[str] = (),
    pictures: Path,
) -> list[Line]:
    """The lines of a JSON lines or Parquet file.

    `columns` maps our names to the file's; one that is left out has the same name there. Pictures
    that stand in the file are written to the folder `pictures`. Raises BenchRefused for a file that
    is not there, a line that is no object, no line at all, what can be no picture, or a column that
    no line has: one of `needed`, or one that was mapped.
    """
    mapped = {name: columns.get(name, name) for name in (*needed, *optional)}
    lines = []
    try:
        for number, record in enumerate(_records(file, mapped.values()), 1):
            number = record.line or number
            if record.fault is not None:
                raise BenchRefused(f"{file}, {_from_line(record.fault[1], number)}")
            values = {theirs: _reach(record.values, theirs) for theirs in mapped.values()}
            line = Line(file=file, number=number, values=values, columns=mapped)
            lines.append(line.with_pictures_in(pictures))
    except SourceError as error:
        raise BenchRefused(str(error)) from None
    if not lines:
        raise BenchRefused(f"{file}: no lines")
    for ours in (*needed, *(name for name in optional if name in columns)):
        if all(line.value(ours) is None for line in lines):
            available = _names(file)
            how = "" if ours in columns else f"; --column {ours}=NAME says what it is called"
            raise BenchRefused(f"{file}: no column '{mapped[ours]}'{how}; there are {available}")
    return lines


def check_columns(columns: Mapping[str, str], ours: Sequence[str]) -> None:
    """Raises BenchRefused for a mapping of a name that is none of ours."""
    unknown = sorted(set(columns) - set(ours))
    if unknown:
        raise BenchRefused(f"--column {unknown[0]}=...: no such column; there are {sorted(ours)}")


def by_id(lines: Sequence[Line], ours: str = "id") -> dict[str, Line]:
    """Lines by their id. Raises BenchRefused for one that stands twice."""
    found: dict[str, Line] = {}
    for line in lines:
        first = found.setdefault(line.name(ours), line)
        if first is not line:
            raise line.refused(ours, f"'{line.name(ours)}' stands in line {first.number} already")
    return found


def _records(file: Path, wanted: Iterable[str]) -> Iterator[Record]:
    """The records of a file; of a Parquet file only the columns that `wanted` reaches into."""
    if not file.is_file():
        raise BenchRefused(f"{file}: no such file")
    if file.suffix != ".parquet":
        return jsonl_records(file)
    names = _names(file)
    some = [name for name in names if any(f"{one}.".startswith(f"{name}.") for one in wanted)]
    # At least one, or there would be no rows.
    return parquet_records(file, some or names[:1])


def _names(file: Path) -> list[str]:
    """What the columns of a file are called."""
    if file.suffix == ".parquet":
        return sorted(parquet_types(file)[0])
    return sorted({name for record in jsonl_records(file) for name in record.values})


def _from_line(detail: str, number: int) -> str:
    return detail if detail.startswith("line ") else f"line {number}: {detail}"


def _reach(value: Any, name: str) -> Any:
    if isinstance(value, dict) and name in value:
        return value[name]
    first, dot, rest = name.partition(".")
    if isinstance(value, dict):
        inner = value.get(first)
    elif isinstance(value, list) and first.isdigit() and int(first) < len(value):
        inner = value[int(first)]
    else:
        return None
    return _reach(inner, rest) if dot else inner


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)[:80]
