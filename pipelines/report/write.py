"""`report/index.html` of a build: figures of all its rows, and a sample of them to look at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.build import PICTURES, Kind
from pipelines.dataset_reading import file_bytes, source_rows
from pipelines.pictures import PictureRejected
from pipelines.report.figures import collect_figures
from pipelines.report.page import render_page
from pipelines.report.records import (
    Answers,
    kept_record,
    make_intern,
    picture_name,
    reject_record,
)
from pipelines.report.rejects import find_answers
from pipelines.report.sample import Pick, Sample, pick_rows, read_picks
from pipelines.report.thumbnails import (
    Thumbnail,
    fit_thumbnails,
    make_thumbnail,
)
from pipelines.script_data import embed_json
from pipelines.shards import write_bytes

ROWS, SEED = 2_000, 0
_ROW_COLUMNS = ("split", "license", "notes", "image", "source_image", "edited_image")
MOST_BYTES = 15_000_000
# Texts take at most so much of the page; with longer ones fewer rows are shown.
TEXT_SHARE = 0.6


@dataclass(frozen=True, kw_only=True)
class Report:
    """Where the page is, its size in bytes, the figures in it, and rows shown and not."""

    path: Path
    size: int
    figures: dict[str, Any]
    shown: dict[str, tuple[int, int]]


def write_report(
    build: Path, *, rows: int = ROWS, seed: int = SEED, most_bytes: int = MOST_BYTES
) -> Report:
    """Write the page of a finished build, with at most `rows` sampled rows, in `most_bytes`.

    Raises BuildRefused for a folder that is no finished build, DatasetUnreadable for a damaged
    shard, OSError when the page cannot be written.
    """
    figures = collect_figures(build)
    kind: Kind = figures["build"]["kind"]
    frame = len(render_page({}, title=figures["build"]["name"])) + len(embed_json(figures)) + 1_000
    room = most_bytes - frame
    while True:
        sample = pick_rows(build, rows=rows, seed=seed)
        known = _known_rows(build, sample)
        answers = find_answers(build, kind, sample.picks)
        records, shared = _records(sample, known, answers, kind)
        taken = len(embed_json([records, shared]))
        if taken <= TEXT_SHARE * room or not records:
            break
        rows = min(int(0.95 * len(records) * TEXT_SHARE * room / taken), len(records) - 1)
    pictures = _pictures(sample, known, kind, budget=room - taken)
    shown = {"kept": sample.kept, "rejects": sample.rejects}
    side_px = max((max(p["width"], p["height"]) for p in pictures.values()), default=0)
    data = {
        **figures,
        "sample": {**shown, "seed": seed, "picture_px": side_px},
        "rows": records,
        "shared": shared,
        "pictures": pictures,
    }
    page = render_page(data, title=figures["build"]["name"]).encode()
    path = build / "report" / "index.html"
    write_bytes(path, page)
    return Report(path=path, size=len(page), figures=figures, shown=shown)


def _known_rows(build: Path, sample: Sample) -> dict[str, dict[str, Any]]:
    """What `rows/` knows of the sample, by row id: where pictures are; of rejects all else."""
    wanted = {row["row_id"] for _, row in read_picks(sample.picks, only=("row_id",))}
    return source_rows(build, wanted, _ROW_COLUMNS)


def _records(
    sample: Sample,
    known: Mapping[str, dict[str, Any]],
    answers: Mapping[Pick, Answers],
    kind: Kind,
) -> tuple[list[dict[str, Any]], list[Any]]:
    intern, shared = make_intern()
    made: dict[Pick, dict[str, Any]] = {}
    for pick, row in read_picks(sample.picks, but=PICTURES[kind]):
        if pick.kept:
            # The file's name is the only place that says it.
            made[pick] = kept_record({**row, "split": pick.path.name.split("-")[0]}, kind, intern)
        else:
            about = known.get(row["row_id"])
            made[pick] = reject_record(row, about, answers.get(pick), kind, intern)
    return [_finite(made[pick]) for pick in sample.picks], shared


def _finite(value: Any) -> Any:
    """The same value with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _pictures(
    sample: Sample, known: Mapping[str, dict[str, Any]], kind: Kind, *, budget: int
) -> dict[str, Thumbnail]:
    """A thumbnail of each picture of the sample, by name, without those that cannot be read."""
    digests = tuple(f"{name}_sha256" for name in PICTURES[kind])
    kept = [pick for pick in sample.picks if pick.kept]
    names = {row[digest] for _, row in read_picks(kept, only=digests) for digest in digests}
    names |= {row[n]["sha256"] for row in known.values() for n in PICTURES[kind] if row.get(n)}
    bytes_each = budget // max(len(names), 1)
    made: dict[str, Thumbnail] = {}
    for sha256, data in _originals(kept, known, kind):
        try:
            data = Path(data).read_bytes() if isinstance(data, str) else data
            made[picture_name(sha256)] = make_thumbnail(data, bytes_each)
        except (OSError, PictureRejected):
            continue
    return fit_thumbnails(made, budget)


def _originals(
    kept: list[Pick], known: Mapping[str, dict[str, Any]], kind: Kind
) -> Iterator[tuple[str, bytes | str]]:
    """sha256 and bytes of every picture once, or the path that it can be read from.

    From the files that `rows/` names; of the dataset only the row groups whose pictures are gone.
    """
    columns, found = PICTURES[kind], set[str]()
    for row in known.values():
        for picture in (row[name] for name in columns if row.get(name)):
            digest = picture["sha256"]
            if digest not in found and (data := file_bytes(picture, digest)) is not None:
                found.add(digest)
                yield digest, data
    digests = tuple(f"{name}_sha256" for name in columns)
    lost = [
        pick for pick, row in read_picks(kept, only=digests) if not found.issuperset(row.values())
    ]
    for _, row in read_picks(lost, only=(*columns, *digests)):
        for name in columns:
            digest = row[f"{name}_sha256"]
            if digest not in found:
                found.add(digest)
                yield digest, row[name]["bytes"] or row[name]["path"]
