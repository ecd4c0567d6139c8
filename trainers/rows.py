"""The rows that a student learns from, read once without their pictures.

Pictures are decoded when a batch needs them, from the memory-mapped Parquet files of the dataset.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.build import PICTURES, Row
from pipelines.dataset_reading import Dataset, DatasetUnreadable, open_dataset, read_groups
from pipelines.export.conversations import converse, is_score_only
from pipelines.export.evidence import EVIDENCE, with_evidence
from pipelines.export.formats import reserved_in
from pipelines.pictures import PictureLimits, PictureRejected, prepare_picture
from pipelines.rendering import SYSTEM_PROMPT
from pipelines.seen_pictures import check_limits, seen_bytes
from prompts import load_prompt
from trainers.splits import SHARED, SPLITS, join_splits

_TEXT = pa.string()
# What is kept in memory of a row; the last four say where its pictures are.
_SCHEMA = pa.schema(
    [
        *((name, _TEXT) for name in ("row_id", "axis", "prompt", "instruction", "reasoning")),
        *(
            (f"{column}_{what}", _TEXT)
            for columns in PICTURES.values()
            for column in columns
            for what in ("sha256", "seen_sha256")
        ),
        ("score", pa.int64()),
        ("score_only", pa.bool_()),
        (SHARED, _TEXT),
        *((name, pa.int64()) for name in ("dataset", "file", "group", "place")),
    ]
)
# How many pictures that a judge saw prepared are prepared again before a training, at least.
_TRIED = 16
# What a judge saw was within the limits of its build already.
NO_LIMITS = PictureLimits(
    max_side_px=1 << 30,
    max_pixels=1 << 60,
    max_source_pixels=1 << 60,
    max_aspect_ratio=1e9,
    max_bytes=1 << 40,
)


@dataclass(frozen=True, kw_only=True)
class TrainingRows:
    """The rows of each split, as TRL wants them when they are asked for.

    `facts` says of each dataset what it is and how many of its rows are used; its `sha256` is of
    the rows' ids, texts and scores; its `prompts` and its `system` texts are [name, sha256]. `ask`
    gives the conversation for a row without its pictures, which has `row_id`, `axis`, `score` and
    `score_only`; the second argument is whether to ask for the score alone.
    """

    splits: dict[str, datasets.Dataset]
    facts: list[dict[str, Any]]
    ask: Callable[[Row, bool], Row]


def open_rows(
    folders: Sequence[str], *, score_only_share: float, seed: int, evidence: bool = False
) -> TrainingRows:
    """Read and check all rows, their pictures excepted; `evidence` as in `with_evidence`.

    Rows that contain a token of the chat template, and training rows that share their prompt or
    source picture with a validation row of any dataset, are left out and counted.
    Raises DatasetUnreadable for a folder that is no whole dataset, has no row to train on, or does
    not tell how its pictures were prepared, and ExportRefused for a row that no student could have
    answered.
    """
    opened = tuple(open_dataset(Path(folder)) for folder in folders)
    parts, facts = [], []
    for number, (folder, dataset) in enumerate(zip(folders, opened, strict=True)):
        digest, left_out, prompts = sha256(), Counter[str](), set[str]()
        tables: dict[str, list[pa.Table]] = {s: [] for s in SPLITS if s in dataset.splits}
        files = {path: file for file, path in enumerate(dataset.paths)}
        for split in tables:
            names = [*_SCHEMA.names, *(EVIDENCE if evidence else ())]
            for path, group, rows in read_groups(dataset.splits[split], names):
                good = []
                for place, row in enumerate(rows):
                    digest.update(json.dumps([split, row]).encode())
                    if evidence:
                        row["reasoning"] = with_evidence(row)
                    row |= {"dataset": number, "file": files[path], "group": group, "place": place}
                    row[SHARED] = row["prompt" if dataset.kind == "gen" else "source_image_sha256"]
                    row["score_only"] = is_score_only(row, share=score_only_share, seed=seed)
                    talk = converse(row, score_only=row["score_only"])
                    if word := reserved_in("trl", talk):
                        left_out[word] += 1
                    else:
                        good.append(row)
                        prompts.add(talk.prompt_id)
                tables[split].append(pa.Table.from_pylist(good, schema=_SCHEMA))
        _check_pictures(dataset, [table for found in tables.values() for table in found])
        about: dict[str, Any] = {"path": folder, "kind": dataset.kind}
        about["sha256"] = digest.hexdigest()
        about["left_out"] = dict(left_out)
        about["prompts"] = [[name, load_prompt(name).sha256] for name in sorted(prompts)]
        about["system"] = [[SYSTEM_PROMPT, load_prompt(SYSTEM_PROMPT).sha256]]
        parts.append(tables)
        facts.append(about | build_facts(dataset.folder))
    splits, facts = join_splits(parts, facts, partial(_as_examples, opened))
    return TrainingRows(splits=splits, facts=facts, ask=partial(make_example, opened))


def make_example(opened: Sequence[Dataset], row: Row, score_only: bool) -> Row:
    """TRL's `prompt` and `completion` as turns, the `images` in order (RGB), and the `row_id`.

    The collator puts the pictures before the first user turn.
    Raises DatasetUnreadable, naming the row, for a picture that is gone, broken or another one.
    """
    talk = converse(row, score_only=score_only)
    return {
        "row_id": row["row_id"],
        "prompt": [
            {"role": "system", "content": talk.system},
            {"role": "user", "content": talk.text},
        ],
        "completion": [{"role": "assistant", "content": talk.reply}],
        "images": _pictures(opened[row["dataset"]], row),
    }


def _as_examples(opened: Sequence[Dataset], batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    examples = [make_example(opened, row, row["score_only"]) for row in rows]
    return {name: [example[name] for example in examples] for name in examples[0]}


def _pictures(dataset: Dataset, row: Row) -> list[Any]:
    found = []
    for column in PICTURES[dataset.kind]:
        try:
            data = seen_bytes(dataset.folder, _with_picture(dataset, row, column), column)
            found.append(prepare_picture(data, NO_LIMITS).image)
        except PictureRejected as error:
            raise DatasetUnreadable(f"row {row['row_id']}, {column}: {error}") from error
    return found


def _with_picture(dataset: Dataset, row: Row, column: str) -> Row:
    file = mapped_file(dataset.paths[row["file"]])
    # Without Arrow's threads, which a data loader's forked workers do not have.
    cells = file.read_row_group(row["group"], columns=[column], use_threads=False)
    return {**row, column: cells[column][row["place"]].as_py()}


def _check_pictures(dataset: Dataset, tables: Iterable[pa.Table]) -> None:
    """Raises DatasetUnreadable where one of some pictures that were prepared comes out otherwise
    and the dataset does not tell its limits.
    """
    whole = pa.concat_tables(tables)
    for column in PICTURES[dataset.kind]:
        digests = (whole[f"{column}{what}_sha256"].to_pylist() for what in ("", "_seen"))
        places = [i for i, (own, seen) in enumerate(zip(*digests, strict=True)) if own != seen]
        for place in places[:: max(1, len(places) // _TRIED)]:
            (row,) = whole.slice(place, 1).to_pylist()
            check_limits(dataset.folder, _with_picture(dataset, row, column), column)


@lru_cache(maxsize=1024)
def mapped_file(path: Path) -> pq.ParquetFile:
    """A file that stays open, its bytes read where they are asked for."""
    return pq.ParquetFile(path, memory_map=True)


def build_facts(folder: Path) -> dict[str, Any]:
    """Which build it is, by its manifest; nothing of a folder of Parquet files alone."""
    try:
        data = (folder / "manifest.json").read_bytes()
        manifest = json.loads(data)
        names = ("finished_at", "package_version", "git_commit")
        told = {f"build_{name}": manifest[name] for name in names if name in manifest}
    except (OSError, ValueError, TypeError):
        return {}
    return {"manifest_sha256": sha256(data).hexdigest(), **told}
