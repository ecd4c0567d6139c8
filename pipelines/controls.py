"""Control rows: rows whose score is known beforehand, asked about in every build as all others are.

Made from the rows of a bucket, never part of the dataset. What comes of them says whether a judge
looks at the pictures at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from pipelines.answers import Row
from pipelines.build import Kind
from pipelines.gen_flow import Outcome
from pipelines.picture_worker import store
from pipelines.rows import read_rows

# Mid-grey: neither a white page nor a night.
GREY = (128, 128, 128)
# The least and the most that a judge who looks gives, by control and axis. By the rubrics an
# untouched picture is execution 1 and consistency 5. How consistent an edit is under an instruction
# that was not its own is not known.
EXPECTED: dict[tuple[str, str | None], tuple[int, int]] = {
    ("identical", "execution"): (1, 1),
    ("identical", "consistency"): (5, 5),
    ("shuffled", "execution"): (1, 2),
    ("shuffled", None): (1, 2),
    ("blank", "execution"): (1, 1),
    ("blank", "consistency"): (1, 1),
    ("blank", None): (1, 1),
}
CONTROL_SCHEMA = pa.schema(
    [
        ("control", pa.string()),
        ("row_id", pa.string()),
        ("axis", pa.string()),
        ("text", pa.string()),
        ("pictures", pa.list_(pa.string())),
        ("expected", pa.list_(pa.int64())),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("score", pa.int64()),
        ("score_probs", pa.list_(pa.float64())),
        ("reasoning", pa.string()),
        ("answer_id", pa.string()),
    ]
)
# What `count_controls` looks at.
COUNTED = ("control", "axis", "status", "score", "expected")


def rows_and_controls(
    build: Path, kind: Kind, bucket: int, share: float
) -> tuple[list[Row], list[Row]]:
    """The rows of a bucket, and the control rows made from them. Raises ShardDamaged, OSError."""
    rows = read_rows(build, bucket)
    return rows, control_rows(kind, rows, share=share, build=build)


def control_rows(kind: Kind, rows: Sequence[Row], *, share: float, build: Path) -> list[Row]:
    """Control rows from the rows that are ok: `share` of them, at least one a kind; none for 0.

    `identical` (edits): the source stands as its own edited picture. `shuffled`: the prompt or
    instruction of a row with other pictures. `blank`: a grey picture, as large as the one that was
    seen, instead of the generated or edited one; written under `pictures/blank/`. Rows are taken by
    hash, so that further rows change few of them. `row_id` is that of the row it was made from.
    """
    # What a rewritten row will ask for is not known yet.
    ok = [row for row in rows if row["status"] == "ok" and not row.get("rewrite")]
    makers: dict[str, Callable[[Row], Row | None]] = {
        "shuffled": _shuffler(kind, ok),
        "blank": lambda row: _blank(kind, row, build),
    }
    if kind == "edit":
        makers["identical"] = lambda row: {**row, "edited_image": row["source_image"]}
    each = math.ceil(share * len(ok) / len(makers))
    found = []
    for control, make in sorted(makers.items()):
        drawn = sorted(ok, key=lambda row: _draw(control, row["row_id"]))
        made = (new for row in drawn if (new := make(row)) is not None)
        found += [{**new, "control": control} for new in islice(made, each)]
    return found


def _draw(*parts: str) -> str:
    return sha256("/".join(parts).encode()).hexdigest()


def _shuffler(kind: Kind, rows: Sequence[Row]) -> Callable[[Row], Row | None]:
    """A function that gives a row the text of the next one, in an order by hash, that differs."""
    text, picture = ("prompt", "image") if kind == "gen" else ("instruction", "edited_image")
    ring = sorted(rows, key=lambda row: _draw("ring", row["row_id"]))
    places = {row["row_id"]: i for i, row in enumerate(ring)}

    def shuffle(row: Row) -> Row | None:
        start = places[row["row_id"]] + 1
        for other in (ring[(start + i) % len(ring)] for i in range(len(ring) - 1)):
            if (
                other[text] != row[text]
                and other[picture]["seen_sha256"] != row[picture]["seen_sha256"]
            ):
                return {**row, text: other[text]}
        return None

    return shuffle


def _blank(kind: Kind, row: Row, build: Path) -> Row:
    name = "image" if kind == "gen" else "edited_image"
    width, height = row[name]["seen_width"], row[name]["seen_height"]
    data = _grey_png(width, height)
    path = build.absolute() / "pictures" / "blank" / f"{width}x{height}.png"
    seen = sha256(data).hexdigest()
    facts = {"sha256": seen, "path": store(path, data), "bytes_size": len(data), "format": "PNG"}
    shown = {"seen_sha256": seen, "seen_path": facts["path"], "seen_format": "PNG"}
    return {**row, name: {**row[name], **facts, **shown, "mode": "RGB", "notes": []}}


@lru_cache(maxsize=256)
def _grey_png(width: int, height: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (width, height), GREY).save(buffer, "PNG")
    return buffer.getvalue()


def control_result(kind: Kind, outcome: Outcome) -> Row:
    """A row of `controls/`: what was asked, what is expected, and what the judge gave."""
    row, score = outcome.row, outcome.score or {}
    names = ("image",) if kind == "gen" else ("source_image", "edited_image")
    expected = EXPECTED.get((row["control"], outcome.axis))
    status = score.get("status", "rejected")
    return {
        "control": row["control"],
        "row_id": row["row_id"],
        "axis": outcome.axis,
        "text": row["prompt" if kind == "gen" else "instruction"],
        "pictures": [row[name]["seen_path"] for name in names],
        "expected": list(expected) if expected else None,
        "status": status,
        "reason": score.get("reason") or (None if outcome.score else outcome.upstream["reason"]),
        **{
            name: score.get(name) if status == "ok" else None
            for name in ("score", "score_probs", "reasoning")
        },
        "answer_id": score.get("answer_id"),
    }


@dataclass(frozen=True, kw_only=True)
class ControlCount:
    """The results of one kind of control row on one axis.

    `n` were scored and `rejected` were not. `as_expected` of the scored are within `expected`
    (least, most); both are null where no score is expected.
    """

    control: str
    axis: str | None
    n: int
    rejected: int
    expected: list[int] | None
    as_expected: int | None
    mean_score: float | None


def count_controls(results: Sequence[Row]) -> list[dict[str, Any]]:
    """`ControlCount`s of all results, as dicts, by control and axis."""
    groups: dict[tuple[str, str | None], list[Row]] = {}
    for row in results:
        groups.setdefault((row["control"], row["axis"]), []).append(row)
    counts = []
    for (control, axis), group in sorted(groups.items(), key=lambda entry: str(entry[0])):
        scores = [row["score"] for row in group if row["status"] == "ok"]
        expected = group[0]["expected"]
        within = [s for s in scores if expected and expected[0] <= s <= expected[1]]
        counts.append(
            ControlCount(
                control=control,
                axis=axis,
                n=len(scores),
                rejected=len(group) - len(scores),
                expected=expected,
                as_expected=len(within) if expected else None,
                mean_score=sum(scores) / len(scores) if scores else None,
            )
        )
    return [asdict(count) for count in counts]
