"""The files of a dataset: each split in files of so many rows, pictures inside or by path."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.answers import Row
from pipelines.build import PICTURES, Kind
from pipelines.dataset_rows import make_reject
from pipelines.shards import ROWS_PER_GROUP


def with_pictures(rows: list[Row], kind: Kind, *, inside: bool) -> tuple[list[Row], list[Row]]:
    """The rows with their original pictures, and rejects where a picture is not the same."""
    filled, gone = [], []
    for row in rows:
        try:
            images = {name: _image(row[name], inside=inside) for name in PICTURES[kind]}
        except (OSError, ValueError) as error:
            found = {**row, "detail": f"{error}; put the picture back and run again"}
            gone.append(make_reject(row, row["axis"], "dataset", found, "picture:changed"))
        else:
            filled.append({**row, **images})
    return filled, gone


def _image(picture: dict[str, Any], *, inside: bool) -> dict[str, Any]:
    path = Path(picture["path"])
    if not inside:
        # Its size alone is looked at: whoever refers to pictures has too many to read them all.
        if path.stat().st_size != picture["bytes_size"]:
            raise ValueError(f"{path} is not the picture that was judged")
        return {"bytes": None, "path": str(path)}
    data = path.read_bytes()
    if sha256(data).hexdigest() != picture["sha256"]:
        raise ValueError(f"{path} is not the picture that was judged")
    return {"bytes": data, "path": path.name}


class SplitWriter:
    """Writes one split into files of about `rows_per_file` rows; names are known at the end."""

    def __init__(self, folder: Path, split: str, schema: pa.Schema, rows_per_file: int) -> None:
        self._folder, self._split, self._rows_per_file = folder, split, rows_per_file
        self._schema = schema
        self._open: pq.ParquetWriter | None = None
        self._counts: list[int] = []
        self._held: list[Row] = []
        self.rows = 0

    def _part(self, i: int) -> Path:
        return self._folder / f".{self._split}-{i:05d}.part"

    def write(self, rows: list[Row]) -> None:
        """Add rows, with their pictures."""
        group = min(ROWS_PER_GROUP, self._rows_per_file)
        self._held += rows
        while len(self._held) >= group:
            self._write_group(self._held[:group])
            self._held = self._held[group:]

    def _write_group(self, rows: list[Row]) -> None:
        if self._open is None:
            self._counts.append(0)
            self._open = pq.ParquetWriter(
                self._part(len(self._counts) - 1),
                self._schema,
                compression="zstd",
                write_page_index=True,
            )
        columns: dict[str, list[Any]] = {
            name: [row.get(name) for row in rows] for name in self._schema.names
        }
        self._open.write_table(
            pa.table(columns, schema=self._schema), row_group_size=ROWS_PER_GROUP
        )
        self._counts[-1] += len(rows)
        self.rows += len(rows)
        if self._counts[-1] >= self._rows_per_file:
            self._close_file()

    def _close_file(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def close(self) -> dict[str, int]:
        """Write what is held, and give the files their final names. Returns rows a file."""
        if self._held:
            self._write_group(self._held)
        self._close_file()
        files = {}
        for i, rows in enumerate(self._counts):
            name = f"{self._split}-{i:05d}-of-{len(self._counts):05d}.parquet"
            os.replace(self._part(i), self._folder / name)
            files[name] = rows
        return files
