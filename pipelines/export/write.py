"""The export of a dataset: its conversations and pictures in a folder of their own.

Row group by row group, in constant memory. The folder gets its name when all of it is on disk.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.build import PICTURES, Row
from pipelines.dataset_reading import Dataset, read_groups
from pipelines.export.conversations import ExportRefused, converse, is_score_only, score_only_share
from pipelines.export.formats import Format, as_line, dataset_info, reserved_in
from pipelines.export.pictures import EARLIER, set_aside, write_picture
from pipelines.progress import Counters, shown
from pipelines.rendering import SYSTEM_PROMPT
from pipelines.shards import sync_folder, sync_tree, write_json
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
    Raises ExportRefused, DatasetUnreadable, OSError; there is then no `out`, and the pictures
    written so far are kept in `part_of(out)` for the next run.
    """
    share = score_only_share(prompt_ids, share, edit=dataset.kind == "edit")
    wanted = _splits(dataset, splits)
    rows: Counter[str] = Counter(dict.fromkeys(wanted, 0))
    prompts: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    pictures = {"written": 0, "unlike_those_seen": 0}
    counters = Counters()
    # Rows of all splits: the stage is known to `progress` by this name.
    counters.expect("rows", sum(map(_count_rows, (p for s in wanted for p in dataset.splits[s]))))
    with _made_whole(out) as folder, shown(counters, title=f"export of {dataset.folder.name}"):
        done = 0
        for split in wanted:
            with open(folder / f"{split}.jsonl", "w", encoding="utf-8") as file:
                for row in _rows_of(dataset, split):
                    counters.set_done("rows", done := done + 1)
                    talk = converse(row, score_only=is_score_only(row, share=share, seed=seed))
                    if word := reserved_in(form, talk):
                        left_out[word] += 1
                        continue
                    names = [
                        write_picture(dataset, row, column, folder, pictures)
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


def part_of(out: Path) -> Path:
    """Where an export is written until it is whole: beside the folder that `out` leads to."""
    place = out.resolve()
    return place.with_name(f".{place.name}.part")


@contextmanager
def _made_whole(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write into; it becomes `out` if all goes well.

    Else its texts are removed and its pictures kept, which the next run takes up: they are most of
    the work, and named by what is in them. A run that was killed leaves the same.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportRefused(f"{out}: is there already; remove it, or give another --out")
    fresh = part_of(out)
    fresh.mkdir(parents=True, exist_ok=True)
    try:
        _remove_texts(fresh)
        set_aside(fresh)
        yield fresh
        shutil.rmtree(fresh / EARLIER, ignore_errors=True)
        # At the end and not one by one: most of it is on disk by then.
        sync_tree(fresh)
        os.rename(fresh, out.resolve())
        sync_folder(fresh.parent)
    except BaseException:
        with suppress(OSError):
            _remove_texts(fresh)
            if not any(path.is_file() for path in fresh.rglob("*")):
                shutil.rmtree(fresh)
        raise


def _remove_texts(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()


def _count_rows(path: Path) -> int:
    return pq.read_metadata(path).num_rows


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
