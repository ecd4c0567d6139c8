"""Write ShapeWorld rows in the factory's source format, with their truth beside them.

    python -m foundry.shapeworld.make edit --rows 2000 --seed 7 --out data/shapes

Writes `OUT/rows.jsonl` (`id`, the texts, paths of the pictures), `OUT/pictures/` and
`OUT/truth.parquet` (one row an `id`). The factory reads the first two and never sees the third.
The same command writes the same rows; a row does not depend on how many are asked for.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from cyclopts import App, Parameter, validators
from rich.progress import track

from foundry.shapeworld.drawing import jpeg_bytes
from foundry.shapeworld.rows import FIRST_RESERVED_SEED, ROWS_A_GROUP, Kind, WorldRow, make_group
from pipelines.replies import SCORES

GROUPS_A_FOLDER = 500
ROWS_AT_ONCE = 1000
_TEXT = pa.string()
_DIFFERENCE = pa.struct(
    [
        ("subject", _TEXT),
        ("category", _TEXT),
        ("before", _TEXT),
        ("after", _TEXT),
        ("significant", pa.bool_()),
    ]
)
_ITEM = pa.struct(
    [("kind", _TEXT), ("question", _TEXT), ("critical", pa.bool_()), ("verdict", _TEXT)]
)
TRUTH = {
    "edit": pa.schema(
        [
            ("id", _TEXT),
            ("execution", pa.int64()),
            ("consistency", pa.int64()),
            ("differences", pa.list_(_DIFFERENCE)),
            ("requests", _TEXT),
            ("unintended_significant", pa.int64()),
            ("unintended_minor", pa.int64()),
            ("unseen", pa.bool_()),
            ("source_scene", _TEXT),
            ("edited_scene", _TEXT),
        ]
    ),
    "gen": pa.schema(
        [
            ("id", _TEXT),
            ("score", pa.int64()),
            ("checklist", pa.list_(_ITEM)),
            ("wanted", _TEXT),
            ("unseen", pa.bool_()),
            ("scene", _TEXT),
        ]
    ),
}
app = App(name="python -m foundry.shapeworld.make", help_flags=["--help", "-h"], version_flags=[])


def world_rows(kind: Kind, seed: int, *, unseen: bool = False) -> Iterator[tuple[int, WorldRow]]:
    """Endless rows, each with the number of its group."""
    index = 0
    while True:
        for row in make_group(kind, seed, index, unseen=unseen):
            yield index, row
        index += 1


def write_world(
    kind: Kind, rows: int, seed: int, out: Path, *, unseen: bool = False
) -> dict[str, Counter[int]]:
    """Write so many rows. Returns the spread of the true scores by axis.

    Rows that an earlier call wrote there go. Raises OSError when the folder cannot be written or
    has rows or pictures that are not of such a call.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in ("rows.jsonl", "pictures"):
        if (out / name).exists() and not (out / "truth.parquet").exists():
            raise FileExistsError(f"{out}: has {name} of another kind; take another folder")
    if (out / "pictures").exists():
        shutil.rmtree(out / "pictures")
    spread: dict[str, Counter[int]] = {}
    waiting: list[dict[str, Any]] = []
    stream = islice(world_rows(kind, seed, unseen=unseen), rows)
    with (
        # First: rows without it are taken for somebody else's.
        pq.ParquetWriter(out / "truth.parquet", TRUTH[kind], compression="zstd") as truth,
        open(out / "rows.jsonl", "w", encoding="utf-8") as file,
    ):
        for group, row in track(stream, total=rows, description=f"{kind} rows"):
            paths = _write_pictures(out, group, row)
            file.write(json.dumps({"id": row.id, **row.texts, **paths}) + "\n")
            waiting.append({"id": row.id, **row.truth})
            for axis, score in row.scores.items():
                spread.setdefault(axis, Counter())[score] += 1
            if len(waiting) == ROWS_AT_ONCE:
                truth.write_table(pa.Table.from_pylist(waiting, schema=TRUTH[kind]))
                waiting.clear()
        truth.write_table(pa.Table.from_pylist(waiting, schema=TRUTH[kind]))
    return spread


def _write_pictures(out: Path, group: int, row: WorldRow) -> dict[str, str]:
    folder = Path("pictures") / f"{group // GROUPS_A_FOLDER:05d}"
    (out / folder).mkdir(parents=True, exist_ok=True)
    paths = {}
    for column, picture in row.pictures.items():
        # The edits of a source share one picture, and so one file.
        name = row.id if column != "source_image" else row.id.rsplit("-", 1)[0] + "-source"
        path = folder / f"{name}.jpg"
        if column != "source_image" or row.id.endswith("-0"):
            (out / path).write_bytes(jpeg_bytes(picture, Random(name)))
        paths[column] = str(path)
    return paths


@app.default
def main(
    kind: Kind,
    *,
    rows: Annotated[int, Parameter(validator=validators.Number(gte=1))],
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0, lt=FIRST_RESERVED_SEED))] = 0,
    out: Path,
    unseen: bool = False,
) -> int:
    """Write ShapeWorld rows with their truth.

    Parameters
    ----------
    kind
        gen: prompts with pictures; edit: picture pairs with instructions.
    rows
        How many.
    seed
        Other seeds, other rows. Training a judge draws those of seed 1.
    out
        Folder to write to; rows, pictures and truth that are there are replaced.
    unseen
        Draw also the combinations of shape and colour that are otherwise held out.

    """
    try:
        spread = write_world(kind, rows, seed, out, unseen=unseen)
    except OSError as error:
        print(f"{out}: cannot be written: {error}", file=sys.stderr)  # noqa: T201 - a command's own output
        return 1
    for axis, counts in spread.items():
        shares = "  ".join(f"{s}: {counts[s] / rows:.0%}" for s in SCORES)
        print(f"{axis:<12}{shares}")  # noqa: T201 - a command's own output
    print(f"{rows} {kind} rows of {ROWS_A_GROUP[kind]} a group in {out}")  # noqa: T201 - a command's own output
    return 0


if __name__ == "__main__":
    sys.exit(app())
