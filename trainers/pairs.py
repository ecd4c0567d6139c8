"""The pairs that DPO learns from: conversations with a chosen and a rejected reply.

Read as rows are: once without their pictures, which are decoded when a batch needs them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.build import Row
from pipelines.dataset_reading import DatasetUnreadable, by_split, check_counts, read_groups
from pipelines.export.formats import reserved_word
from pipelines.pictures import PictureRejected, prepare_picture
from pipelines.rendering import SYSTEM_PROMPT
from prompts import load_prompt
from trainers.rows import NO_LIMITS, TrainingRows, build_facts, mapped_file
from trainers.splits import SHARED, SPLITS, join_splits

_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_SIDES = ("prompt", "chosen", "rejected")
_SCHEMA = pa.schema(
    [
        *((side, _TURNS) for side in _SIDES),
        ("row_id", pa.string()),
        ("axis", pa.string()),
        ("score", pa.int64()),
        ("score_only", pa.bool_()),
        (SHARED, pa.string()),
        *((name, pa.int64()) for name in ("file", "group", "place")),
    ]
)
# Columns of the files; `label_score` is the score that the row has in its dataset.
_READ = [*_SIDES, "row_id", "axis", "label_score"]
# Which prompt a reply was given to; pairs that were not made here need not tell.
_PROMPTS = [(f"{side}_prompt_id", f"{side}_prompt_sha256") for side in _SIDES[1:]]
_SHA256 = re.compile("[0-9a-f]{64}")


def open_pairs(folders: Sequence[str]) -> TrainingRows:
    """Read all pairs, their pictures excepted; a folder is a build's of preferences, or of Parquet.

    Pairs that contain a token of the chat template, and training pairs that share their prompt or
    source picture with a validation pair of any folder, are left out and counted.
    Raises DatasetUnreadable for a folder that holds no whole set of pairs.
    """
    numbers: dict[Path, int] = {}
    parts, facts = [], []
    for folder in folders:
        splits = _files_of(Path(folder))
        digest, left_out = sha256(), Counter[str]()
        prompts, system = set[tuple[str, str]](), set[str]()
        tables: dict[str, list[pa.Table]] = {split: [] for split in SPLITS if split in splits}
        for split in tables:
            for path, group, rows in read_groups(splits[split], [*_READ, *chain(*_PROMPTS)]):
                file = numbers.setdefault(path, len(numbers))
                _check_turns(path, rows)
                good, shared = [], _shared(path, group, rows)
                for place, row in enumerate(rows):
                    asked_with = {(row.pop(name, None), row.pop(of, None)) for name, of in _PROMPTS}
                    digest.update(json.dumps([split, row]).encode())
                    row |= {"file": file, "group": group, "place": place, SHARED: shared[place]}
                    row |= {"score": row.pop("label_score"), "score_only": False}
                    said = [turn["content"] for side in _SIDES for turn in row[side]]
                    if word := reserved_word("trl", said):
                        left_out[word] += 1
                    else:
                        good.append(row)
                        prompts |= {(name, of) for name, of in asked_with if name and of}
                        system |= {t["content"] for t in row["prompt"] if t["role"] == "system"}
                tables[split].append(pa.Table.from_pylist(good, schema=_SCHEMA))
        about: dict[str, Any] = {"path": folder, "kind": "preferences"}
        about["sha256"] = digest.hexdigest()
        about["left_out"] = dict(left_out)
        about["prompts"] = [list(prompt) for prompt in sorted(prompts)]
        about["system"] = [_system(text) for text in sorted(system)]
        parts.append(tables)
        facts.append(about | build_facts(Path(folder)))
    files = list(numbers)
    found, facts = join_splits(parts, facts, partial(_as_examples, files))
    return TrainingRows(splits=found, facts=facts, ask=partial(_ask, files))


def _check_turns(path: Path, rows: Sequence[Row]) -> None:
    """Raises DatasetUnreadable for what is no list of turns with a text each."""
    for row in rows:
        for side in _SIDES:
            turns = row[side] if isinstance(row[side], list) else [None]
            if not all(isinstance(t, dict) and isinstance(t.get("content"), str) for t in turns):
                told = f"{path}: row {row['row_id']}, {side}: wanted are turns with a role and a "
                raise DatasetUnreadable(told + "content that is a text; pictures stand in images")


def _shared(path: Path, group: int, rows: Sequence[Row]) -> list[str]:
    """What each row of a group shares with others: the user's text, of an edit its first picture's
    sha256.

    Pictures of a build are named by it; where they are not, they are read. Raises DatasetUnreadable
    for an edit without pictures.
    """
    texts = ["".join(t["content"] for t in row["prompt"] if t["role"] == "user") for row in rows]
    if all(row["axis"] is None for row in rows):
        return texts
    file = mapped_file(path)
    paths = [file.schema.column(i).path for i in range(len(file.schema.names))]
    named = [name for name in paths if name.startswith("images.") and name.endswith(".path")]
    shown = file.read_row_group(group, columns=named)["images"].to_pylist()
    for row, cells in zip(rows, shown, strict=True):
        if not cells:
            raise DatasetUnreadable(f"{path}: row {row['row_id']} has no images")
    names = [Path(cells[0]["path"] or "").stem for cells in shown]
    if not all(_SHA256.fullmatch(name) for name in names):
        shown = file.read_row_group(group, columns=["images"])["images"].to_pylist()
        for row, cells in zip(rows, shown, strict=True):
            if cells[0]["bytes"] is None:
                told = "images have to hold the pictures themselves, not their paths"
                raise DatasetUnreadable(f"{path}: row {row['row_id']}: {told}")
        names = [sha256(cells[0]["bytes"]).hexdigest() for cells in shown]
    both = zip(rows, texts, names, strict=True)
    return [text if row["axis"] is None else name for row, text, name in both]


def _system(text: str) -> list[str]:
    """A system text's id and digest; one that is not today's is told by a digest of its own."""
    today = load_prompt(SYSTEM_PROMPT)
    if text == today.text:
        return [SYSTEM_PROMPT, today.sha256]
    return ["another system text", sha256(text.encode()).hexdigest()]


def _files_of(folder: Path) -> dict[str, list[Path]]:
    inside = folder / "preferences"
    if inside.is_dir() and not (folder / "manifest.json").exists():
        raise DatasetUnreadable(f"{folder}: its last run did not finish; run its flow again")
    place = inside if inside.is_dir() else folder
    splits = by_split(sorted(place.glob("*.parquet")))
    if not splits:
        raise DatasetUnreadable(
            f"{folder}: no pairs here; name the output of build-firm-preferences, or a folder with "
            "train-00000-of-00001.parquet and the like"
        )
    check_counts(folder, splits)
    names = mapped_file(next(iter(splits.values()))[0]).schema_arrow.names
    if missing := sorted({*_READ, "images"} - set(names)):
        raise DatasetUnreadable(f"{folder}: no pairs, columns missing: {', '.join(missing)}")
    return splits


def _as_examples(files: Sequence[Path], batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    kept = {name: batch[name] for name in ("row_id", *_SIDES)}
    return {**kept, "images": [_pictures(files, row) for row in rows]}


def _ask(files: Sequence[Path], row: Row, score_only: bool) -> Row:
    """The conversation's beginning; pairs are of replies with reasoning alone."""
    return {"prompt": row["prompt"], "images": _pictures(files, row)}


def _pictures(files: Sequence[Path], row: Row) -> list[Any]:
    path = files[row["file"]]
    # Without Arrow's threads, which a data loader's forked workers do not have.
    group = mapped_file(path).read_row_group(
        row["group"], columns=["row_id", "images"], use_threads=False
    )
    place = row["place"]
    if place >= group.num_rows or group["row_id"][place].as_py() != row["row_id"]:
        raise DatasetUnreadable(f"{path}: changed since row {row['row_id']} was read from it")
    try:
        cells = group["images"][place].as_py()
        return [prepare_picture(cell["bytes"], NO_LIMITS).image for cell in cells]
    except PictureRejected as error:
        raise DatasetUnreadable(f"row {row['row_id']}, images: {error}") from error
