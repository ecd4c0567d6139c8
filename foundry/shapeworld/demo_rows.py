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
from typing import Any

from PIL import Image

from foundry.shapeworld.drawing import jpeg_bytes
from foundry.shapeworld.edits import Edit
from foundry.shapeworld.gen_truth import checklist, gen_score, verdict
from foundry.shapeworld.rationales import (
    explain_consistency,
    explain_execution,
    explain_picture,
)
from foundry.shapeworld.rows import (
    ROWS_A_GROUP,
    SHOWN_BY_THE_DEMO,
    Kind,
    Made,
    WorldRow,
    make_group,
    truth_of_edit,
)
from foundry.shapeworld.scenes import PLACES

GEN_ROWS = 18
EDIT_ROWS = 14
CROSSED_ROWS = 4


def write_demo_rows(folder: Path) -> tuple[int, int]:
    """Write both halves into `folder`. Returns how many gen and how many edit rows there are."""
    return _write_gen(folder / "gen"), _write_edit(folder / "edit")


def true_replies(kind: Kind) -> list[dict[str, dict[str, Any]]]:
    """What a judge that sees everything says of the demo's rows, in the order of its files.

    By axis (`score` for gen) a `score` and the `reasoning` before it.
    """
    replies = list(map(_reply_gen if kind == "gen" else _reply_edit, _cases(kind)))
    return [*replies, replies[0], replies[0]]


def _cases(kind: Kind) -> list[Any]:
    rows = _world_rows(kind, GEN_ROWS if kind == "gen" else EDIT_ROWS)
    cases: list[Any] = [row.case for row in rows]
    return cases if kind == "gen" else cases + [edit for _, _, edit in _crossed(rows)]


def _reply_gen(made: Made) -> dict[str, dict[str, Any]]:
    items = checklist(made.wanted)
    verdicts = [verdict(item, made.scene) for item in items]
    score = gen_score(items, verdicts)
    return {"score": {"score": score, "reasoning": explain_picture(items, verdicts, score)}}


def _reply_edit(edit: Edit) -> dict[str, dict[str, Any]]:
    scores = truth_of_edit(edit)["scores"]
    reasons = {
        "execution": explain_execution(edit),
        "consistency": explain_consistency(edit),
    }
    return {axis: {"score": scores[axis], "reasoning": reasons[axis]} for axis in scores}


def _crossed(rows: Sequence[WorldRow]) -> list[tuple[int, int, Edit]]:
    """Edits with the instruction of the other edit of their source: numbers of both, and the edit.

    Not those that go as well by the words of the other as by what it meant.
    """
    found = []
    for i in range(0, len(rows), ROWS_A_GROUP["edit"]):
        edit, other = (row.case for row in rows[i : i + 2])
        if isinstance(edit, Edit) and isinstance(other, Edit):
            crossed = replace(edit, requests=other.requests)
            if not _reads_otherwise(crossed):
                found.append((i, i + 1, crossed))
    return found[:CROSSED_ROWS]


def _reads_otherwise(edit: Edit) -> bool:
    """Whether another thing of the shape that was to be moved stands where it was to go."""
    before = edit.source.by_key()
    return any(
        request.kind == "move"
        and thing.key not in request.targets
        and PLACES[thing.cell] == request.to
        and thing.shape in {before[key].shape for key in request.targets}
        for request in edit.requests
        for thing in edit.edited.things
    )


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
    drawn = _world_rows("edit", EDIT_ROWS)
    for i, row in enumerate(drawn):
        number, edit = divmod(i, ROWS_A_GROUP["edit"])
        source, edited = f"{number + 1}.jpg", f"{number + 1}{'abcd'[edit]}.jpg"
        if edit == 0:
            _save(folder / source, _jpeg(row.pictures["source_image"], source))
        _save(folder / edited, _jpeg(row.pictures["edited_image"], edited))
        rows.append({"source": source, "edited": edited, "instruction": row.texts["instruction"]})
    for i, other, _ in _crossed(drawn):
        rows.append({**rows[i], "instruction": rows[other]["instruction"]})
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
        made = list(make_group(kind, SHOWN_BY_THE_DEMO, group, unseen=False))
        if not any(isinstance(row.case, Edit) and _reads_otherwise(row.case) for row in made):
            rows += made
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
