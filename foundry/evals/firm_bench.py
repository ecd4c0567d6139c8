"""FIRM-Bench (arXiv:2603.12247): edits and generated pictures with human scores, 1 to 5.

Each half is a folder with `bench_v1.jsonl` and `result/human_bench_v1.jsonl`. What their columns
are called could not be looked up, so every name can be mapped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from foundry.evals.bench import Item, Rows, group_of, group_of_picture
from foundry.evals.bench_files import BenchRefused, Line, by_id, check_columns, read_lines
from pipelines.build import Kind
from pipelines.dataset_settings import EDIT_COLUMNS, GEN_COLUMNS
from pipelines.rendering import AXES, GEN_AXIS

ROWS_FILE = Path("bench_v1.jsonl")
SCORES_FILE = Path("result/human_bench_v1.jsonl")


@dataclass(frozen=True, kw_only=True)
class _Files:
    """What was read: rows by id, and lines with scores, each with the id of its row."""

    rows: dict[str, Line]
    scored: list[tuple[str, Line]]
    scores_file: Path
    image_root: Path


def read_firm_bench_edit(
    data: Path,
    columns: Mapping[str, str],
    *,
    scores: Path | None,
    image_root: Path | None,
    pictures: Path,
) -> tuple[Rows, list[Item]]:
    """Edits with a human score on one axis or both.

    The scores stand in columns `execution` and `consistency`, either of which may be empty, or in
    `score` beside the axis's name in `axis`. `pictures` as in `read_lines`. Raises BenchRefused.
    """
    names = (*AXES, "axis", "score")
    files = _read(data, columns, scores, image_root, pictures, of_rows=EDIT_COLUMNS, optional=names)
    made = {
        row_id: {
            "source_image": line.picture("source_image", files.image_root),
            "edited_image": line.picture("edited_image", files.image_root),
            "instruction": line.text("instruction"),
        }
        for row_id, line in files.rows.items()
    }
    groups = {row_id: group_of_picture(row["source_image"]) for row_id, row in made.items()}
    items: dict[str, Item] = {}
    for row_id, line in files.scored:
        for axis, column in _scored_axes(line):
            item = Item(
                id=f"{row_id}:{axis}",
                row=row_id,
                axis=axis,
                part="",
                group=groups[row_id],
                true=line.score(column),
            )
            if items.setdefault(item.id, item) is not item:
                raise line.refused(column, f"row '{row_id}' has a score of its {axis} already")
    return _rows("edit", made, files, items), list(items.values())


def read_firm_bench_gen(
    data: Path,
    columns: Mapping[str, str],
    *,
    scores: Path | None,
    image_root: Path | None,
    pictures: Path,
) -> tuple[Rows, list[Item]]:
    """Generated pictures with a human score, in parts by `difficulty` where there is that column.

    `pictures` as in `read_lines`. Raises BenchRefused.
    """
    files = _read(
        data,
        columns,
        scores,
        image_root,
        pictures,
        of_rows=GEN_COLUMNS,
        of_scores=("score",),
        part="difficulty",
    )
    made = {
        row_id: {"prompt": line.text("prompt"), "image": line.picture("image", files.image_root)}
        for row_id, line in files.rows.items()
    }
    items: dict[str, Item] = {}
    for row_id, line in files.scored:
        row = files.rows[row_id]
        item = Item(
            id=row_id,
            row=row_id,
            axis=GEN_AXIS,
            part="" if row.value("difficulty") is None else row.name("difficulty"),
            group=group_of(made[row_id]["prompt"]),
            true=line.score("score"),
        )
        if items.setdefault(row_id, item) is not item:
            raise line.refused("score", f"row '{row_id}' has a score already")
    return _rows("gen", made, files, items), list(items.values())


def _read(
    data: Path,
    columns: Mapping[str, str],
    scores: Path | None,
    image_root: Path | None,
    pictures: Path,
    *,
    of_rows: Sequence[str],
    of_scores: Sequence[str] = (),
    optional: Sequence[str] = (),
    part: str | None = None,
) -> _Files:
    """Rows, and the lines of their scores: in a file of their own, or the same lines.

    `of_rows` and `of_scores` must be there; `optional` are further columns of scores, `part` one of
    rows.
    """
    of_parts = () if part is None else (part,)
    check_columns(columns, ("id", *of_rows, *of_parts, *of_scores, *optional, "score_id"))
    if data.is_dir():
        root, rows_file, scores = data, data / ROWS_FILE, scores or data / SCORES_FILE
    else:
        root, rows_file = data.parent, data
    if scores is None:
        needed, further = (*of_rows, *of_scores), ("id", *of_parts, *optional)
    else:
        needed, further = of_rows, ("id", *of_parts)
    lines = read_lines(rows_file, columns, needed=needed, optional=further, pictures=pictures)
    if scores is None and all(line.value("id") is None for line in lines):
        rows = {str(line.number): line for line in lines}
    else:
        rows = by_id(lines)
    if scores is None:
        scored = list(rows.items())
    else:
        columns = {"score_id": columns.get("id", "id"), **columns}
        needed = ("score_id", *of_scores)
        lines = read_lines(scores, columns, needed=needed, optional=optional, pictures=pictures)
        scored = [(line.name("score_id"), line) for line in lines]
        for row_id, line in scored:
            if row_id not in rows:
                raise line.refused("score_id", f"no row '{row_id}' in {rows_file}")
    return _Files(
        rows=rows,
        scored=scored,
        scores_file=scores or rows_file,
        image_root=image_root or root,
    )


def _scored_axes(line: Line) -> list[tuple[str, str]]:
    """The axes a line has scores on, each with the column that holds it."""
    if line.value("axis") is not None:
        axis = line.name("axis")
        if axis not in AXES:
            raise line.refused("axis", f"'{axis}' is neither {AXES[0]} nor {AXES[1]}")
        return [(axis, "score")]
    return [(axis, axis) for axis in AXES if line.value(axis) is not None]


def _rows(
    kind: Kind, made: dict[str, dict[str, str]], files: _Files, items: Mapping[str, Item]
) -> Rows:
    """The rows, each of which must have a score."""
    scored = {item.row for item in items.values()}
    for row_id, line in files.rows.items():
        if row_id not in scored:
            raise BenchRefused(f"{line.place}: no human score of this row in {files.scores_file}")
    places = {row_id: line.place for row_id, line in files.rows.items()}
    return Rows(kind=kind, by_id=made, places=places)
