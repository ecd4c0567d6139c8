"""The page that a person scores on: one file that works from disk, with the pictures inside.

What it is given of a row is its id, axis, text and pictures; nothing that a model said of it.
"""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Iterable
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from pipelines.answers import Row
from pipelines.audit.rubrics import axes_of, rubric
from pipelines.audit.sample import Drawn, Sample
from pipelines.build import PICTURES, Kind
from pipelines.dataset_reading import (
    DatasetUnreadable,
    file_bytes,
    image_limits,
    original_bytes,
    read_group,
    source_rows,
)
from pipelines.pictures import prepare_picture
from pipelines.script_data import embed_json

# Base64 adds a third: 200 rows of all their own pictures stay under 30 MB.
PICTURES_BYTES = 21_000_000
LONGEST_PICTURE_BYTES = 250_000
# Longest side in pixels, and quality; the first that fits is taken.
_LADDER = ((1024, 90), (1024, 80), (896, 75), (768, 75), (640, 70), (512, 65), (384, 55), (256, 50))
_PLACE = "__AUDIT__"
_REPLACED = (
    "the dataset was written anew while it was read; wait until its flow has ended if it runs, "
    "and make the page again"
)


def make_page(build: Path, kind: Kind, sample: Sample) -> str:
    """The whole page. Raises DatasetUnreadable (also for a dataset that is replaced meanwhile),
    PictureRejected.
    """
    texts, pictures = _read_rows(build, kind, sample.rows)
    if not texts.keys() >= {(row.row_id, row.axis) for row in sample.rows}:
        raise DatasetUnreadable(f"{build}: {_REPLACED}")
    rows = [
        {"row_id": row.row_id, "axis": row.axis, **texts[row.row_id, row.axis]}
        for row in sample.rows
    ]
    data = {
        "audit": sample.id,
        "kind": kind,
        "command": f"python -m flows.audit {shlex.quote(str(build))} --scores",
        "rubrics": [{"axis": axis, **rubric(axis)} for axis in axes_of(kind)],
        "rows": rows,
        "pictures": pictures,
    }
    page = (resources.files(__package__ or "") / "page.html").read_text("utf-8")
    return page.replace(_PLACE, embed_json(data))


def _read_rows(
    build: Path, kind: Kind, drawn: Iterable[Drawn]
) -> tuple[dict[tuple[str, str | None], dict[str, Any]], dict[str, str]]:
    """By row id and axis the text and the names of the pictures; by name the pictures' URLs."""
    columns, limits = PICTURES[kind], image_limits(build)
    text = "prompt" if kind == "gen" else "instruction"
    wanted = ["row_id", "axis", text, *(f"{name}_sha256" for name in columns)]
    drawn = sorted(drawn, key=_place)
    known = source_rows(build, {row.row_id for row in drawn}, columns)
    # Row ids, not rows, are counted: pictures that rows share only leave room to spare.
    room = PICTURES_BYTES // max(1, len({row.row_id for row in drawn}) * len(columns))
    texts: dict[tuple[str, str | None], dict[str, Any]] = {}
    urls: dict[str, str] = {}
    for (path, group), part in groupby(drawn, key=_place):
        mine = {(row.row_id, row.axis) for row in part}
        whole: dict[tuple[str, str | None], Row] = {}
        for row in read_group(path, group, wanted):
            key = row["row_id"], row.get("axis")
            if key not in mine:
                continue
            names = [row[f"{name}_sha256"][:16] for name in columns]
            texts[key] = {"text": row[text], "pictures": names}
            for name, column in zip(names, columns, strict=True):
                if name not in urls:
                    picture = known.get(key[0], {}).get(column)
                    data = file_bytes(picture, row[f"{column}_sha256"])
                    if data is None:
                        whole = whole or _whole_rows(path, group, [*wanted, *columns])
                        if key not in whole:
                            raise DatasetUnreadable(f"{path}: {_REPLACED}")
                        data = original_bytes(whole[key], column)
                    seen = prepare_picture(data, limits).image
                    urls[name] = picture_url(seen, min(room, LONGEST_PICTURE_BYTES))
    return texts, urls


def _whole_rows(path: Path, group: int, columns: list[str]) -> dict[tuple[str, str | None], Row]:
    rows = read_group(path, group, columns)
    return {(row["row_id"], row.get("axis")): row for row in rows}


def _place(row: Drawn) -> tuple[Path, int]:
    return row.path, row.group


def picture_url(image: Image.Image, most_bytes: int) -> str:
    """A picture as a data URL of WebP, as large and as good as fits into `most_bytes`.

    The smallest and worst that is made is taken where nothing fits.
    """
    data = b""
    for side, quality in _LADDER:
        smaller = image.copy()
        smaller.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
        out = io.BytesIO()
        smaller.save(out, "WEBP", quality=quality, method=2)
        data = out.getvalue()
        if len(data) <= most_bytes:
            break
    return "data:image/webp;base64," + base64.b64encode(data).decode("ascii")
