"""The export of a dataset: its conversations and pictures in a folder of their own.

Row group by row group, in constant memory. The folder gets its name when all of it is on disk.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipelines.answers import Row
from pipelines.dataset_reading import Dataset, image_limits, original_bytes, read_groups
from pipelines.dataset_rows import PICTURES
from pipelines.export.conversations import ExportRefused, converse, is_score_only, score_only_share
from pipelines.export.formats import Format, as_line, dataset_info, reserved_in
from pipelines.picture_worker import store
from pipelines.pictures import PictureRejected, prepare_picture
from pipelines.shards import sync_folder, write_json
from pipelines.stages import SYSTEM_PROMPT
from pipelines.version import code_version
from prompts import load_prompt


def export_dataset(
    dataset: Dataset,
    out: Path,
    *,
    form: Format,
    splits: tuple[str, ...],
    prompt_ids: tuple[str, ...],
    share: float,
    seed: int,
) -> dict[str, Any]:
    """Write `out`, which must not exist yet or be empty. Returns what stands in its `export.json`.

    `splits` and `prompt_ids` left empty are all there are; `share` of the rows, by their ids and
    `seed`, are exported without reasoning.
    Raises ExportRefused, DatasetUnreadable, OSError; there is then no `out`.
    """
    share = score_only_share(prompt_ids, share, edit=dataset.kind == "edit")
    wanted = _splits(dataset, splits)
    rows: Counter[str] = Counter(dict.fromkeys(wanted, 0))
    prompts: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    pictures = {"written": 0, "unlike_those_seen": 0}
    with _made_whole(out) as folder:
        for split in wanted:
            with open(folder / f"{split}.jsonl", "w", encoding="utf-8") as file:
                for row in _rows_of(dataset, split):
                    talk = converse(row, score_only=is_score_only(row, share=share, seed=seed))
                    if word := reserved_in(form, talk):
                        left_out[word] += 1
                        continue
                    names = [
                        _write_picture(dataset, row, column, folder, pictures)
                        for column in PICTURES[dataset.kind]
                    ]
                    line = as_line(form, row, talk, names)
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                    prompts[talk.prompt_id] += 1
                    rows[split] += 1
        if form == "llama-factory":
            write_json(folder / "dataset_info.json", dataset_info(dataset.kind, wanted))
        told = {
            "format": form,
            "kind": dataset.kind,
            "rows": dict(rows),
            "left_out": dict(left_out),
            "pictures": pictures,
            "prompts": {
                prompt_id: {"rows": n, "sha256": load_prompt(prompt_id).sha256}
                for prompt_id, n in sorted(prompts.items())
            },
            "system_sha256": load_prompt(SYSTEM_PROMPT).sha256,
            "score_only_share": share,
            "seed": seed,
            **code_version(),
        }
        write_json(folder / "export.json", told)
    return told


@contextmanager
def _made_whole(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write into; it becomes `out` if all goes well, else it is removed.

    What a run that was killed has left of it is removed first.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportRefused(f"{out}: is there already; remove it, or give another --out")
    fresh = out.absolute().with_name(f".{out.absolute().name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        yield fresh
        # Once, not a file: a folder has as many pictures as the dataset.
        os.sync()
        os.rename(fresh, out)
        sync_folder(fresh.parent)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _splits(dataset: Dataset, splits: tuple[str, ...]) -> list[str]:
    unknown = sorted(set(splits) - dataset.splits.keys())
    if unknown:
        had = ", ".join(dataset.splits)
        raise ExportRefused(f"--split {unknown[0]}: {dataset.folder} has {had}")
    return [split for split in dataset.splits if not splits or split in splits]


def _rows_of(dataset: Dataset, split: str) -> Iterator[Row]:
    text = ["prompt"] if dataset.kind == "gen" else ["instruction", "axis"]
    columns = ["row_id", "license", *text, "reasoning", "score"]
    for name in PICTURES[dataset.kind]:
        columns += [name, f"{name}_sha256", f"{name}_seen_sha256"]
    for _, _, rows in read_groups(dataset.splits[split], columns):
        yield from rows


def _write_picture(
    dataset: Dataset, row: Row, column: str, folder: Path, counts: dict[str, int]
) -> str:
    """Store what the model saw of a picture, named by its sha256. Returns its path in the folder.

    It is the original where the model saw that, else the file that the build keeps; where neither
    is at hand it is prepared again by the function that made it, and counted if its bytes are not
    the same: another version of a decoder, or a published dataset, which does not tell the limits.
    """
    digest, wanted = row[f"{column}_sha256"], row[f"{column}_seen_sha256"]
    data = original_bytes(row, column)
    if digest != wanted:
        data = _kept_by_build(dataset.folder, digest, wanted) or _prepared(
            dataset, row, column, data
        )
    made = sha256(data).hexdigest()
    name = f"images/{made[:2]}/{made}{_extension(data)}"
    if not (folder / name).exists():
        store(folder / name, data)
        counts["written"] += 1
        counts["unlike_those_seen"] += made != wanted
    return name


def _kept_by_build(folder: Path, digest: str, wanted: str) -> bytes | None:
    """The prepared picture that the build sent; it keeps one for each set of limits."""
    for limits in (folder / "pictures" / "seen").glob("*"):
        try:
            data = (limits / digest[:2] / f"{digest}.jpg").read_bytes()
        except OSError:
            continue
        if sha256(data).hexdigest() == wanted:
            return data
    return None


def _prepared(dataset: Dataset, row: Row, column: str, data: bytes) -> bytes:
    try:
        return prepare_picture(data, image_limits(dataset.folder)).seen or data
    except PictureRejected as error:
        raise ExportRefused(f"row {row['row_id']}, {column}: {error}") from error


def _extension(data: bytes) -> str:
    """By the bytes: what a model sees is a JPEG, PNG or WebP."""
    return ".png" if data[:4] == b"\x89PNG" else ".webp" if data[8:12] == b"WEBP" else ".jpg"
