"""Write the demo's rows: ShapeWorld pictures with prompts, and edits with instructions.

    python -m foundry.shapeworld.demo_rows OUT

Writes `OUT/gen/metadata.jsonl` (`file_name`, `prompt`) and `OUT/edit/rows.jsonl` (`source`,
`edited`, `instruction`), with the pictures beside them. Some pictures match their prompt and some
edits do what they were asked, others do so in part or not at all; some edits are paired with the
instruction of another. Each half has, on purpose, one row that repeats another and one picture that
is cut short. The same rows come out every time; they are committed as `examples/demo/`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from PIL import Image

from foundry.shapeworld.drawing import jpeg_bytes
from foundry.shapeworld.edits import Edit
from foundry.shapeworld.rows import (
    ROWS_A_GROUP,
    SHOWN_BY_THE_DEMO,
    Kind,
    WorldRow,
    make_group,
    truth_of_edit,
)

GEN_ROWS = 18
EDIT_ROWS = 14
CROSSED_ROWS = 4


def write_demo_rows(folder: Path) -> tuple[int, int]:
    """Write both halves into `folder`. Returns how many gen and how many edit rows there are."""
    return _write_gen(folder / "gen"), _write_edit(folder / "edit")


def true_scores(kind: Kind) -> list[dict[str, int]]:
    """The true scores of the demo's rows by axis (`score` for gen), in the order of its files."""
    if kind == "gen":
        scores = [row.scores for row in _world_rows("gen", GEN_ROWS)]
        return [*scores, scores[0], scores[0]]
    rows = _world_rows("edit", EDIT_ROWS)
    scores = [row.scores for row in rows]
    for i in range(CROSSED_ROWS):
        edit, other = (row.case for row in rows[2 * i : 2 * i + 2])
        if isinstance(edit, Edit) and isinstance(other, Edit):
            scores.append(truth_of_edit(replace(edit, requests=other.requests))["scores"])
    return [*scores, scores[0], scores[0]]


def _write_gen(folder: Path) -> int:
    rows = []
    for number, row in enumerate(_world_rows("gen", GEN_ROWS), 1):
        name = f"{number:02d}.jpg"
        _save(folder / name, _jpeg(row.pictures["image"], name))
        rows.append({"file_name": name, "prompt": row.texts["prompt"]})
    first = (folder / rows[0]["file_name"]).read_bytes()
    for name, content in (("repeated.jpg", first), ("cut-short.jpg", first[: len(first) // 2])):
        _save(folder / name, content)
        rows.append({**rows[0], "file_name": name})
    _save_rows(folder / "metadata.jsonl", rows)
    return len(rows)


def _write_edit(folder: Path) -> int:
    rows = []
    for i, row in enumerate(_world_rows("edit", EDIT_ROWS)):
        number, edit = divmod(i, ROWS_A_GROUP["edit"])
        source, edited = f"{number + 1}.jpg", f"{number + 1}{'abcd'[edit]}.jpg"
        if edit == 0:
            _save(folder / source, _jpeg(row.pictures["source_image"], source))
        _save(folder / edited, _jpeg(row.pictures["edited_image"], edited))
        rows.append({"source": source, "edited": edited, "instruction": row.texts["instruction"]})
    for i in range(CROSSED_ROWS):
        other = rows[2 * i + 1]["instruction"]
        rows.append({**rows[2 * i], "instruction": other})
    rows.append(dict(rows[0]))
    content = (folder / rows[0]["edited"]).read_bytes()
    _save(folder / "cut-short.jpg", content[: len(content) // 2])
    rows.append({**rows[0], "edited": "cut-short.jpg"})
    _save_rows(folder / "rows.jsonl", rows)
    return len(rows)


def _world_rows(kind: Kind, count: int) -> list[WorldRow]:
    rows: list[WorldRow] = []
    group = 0
    while len(rows) < count:
        rows += make_group(kind, SHOWN_BY_THE_DEMO, group, unseen=False)
        group += 1
    return rows[:count]


def _jpeg(picture: Image.Image, name: str) -> bytes:
    return jpeg_bytes(picture, Random(name))


def _save(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _save_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    _save(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: `OUT`. Returns 0, or 1 where it cannot be written."""
    parser = argparse.ArgumentParser(description="Draw the demo's rows.")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to")
    out = parser.parse_args(argv).out
    try:
        gen, edit = write_demo_rows(out)
    except OSError as error:
        sys.stderr.write(f"{out}: cannot be written: {error}\n")
        return 1
    sys.stdout.write(f"{out}: {gen} gen rows, {edit} edit rows\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
