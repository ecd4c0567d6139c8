"""Control rows: rows whose score is known beforehand, asked about in every build as all others are.

Made from the rows of a bucket, never part of the dataset. What comes of them says whether a judge
looks at the pictures at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from io import BytesIO
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
        "shuffled": lambda row: _shuffled(kind, row, ok),
        "blank": lambda row: _blank(kind, row, build),
    }
    if kind == "edit":
        makers["identical"] = lambda row: {**row, "edited_image": row["source_image"]}
    each = math.ceil(share * len(ok) / len(makers))
    found = []
    for control, make in sorted(makers.items()):
        drawn = sorted(ok, key=lambda row: _draw(control, row["row_id"]))
        made = ((row, make(row)) for row in drawn[:each])
        found += [{**new, "control": control} for _, new in made if new is not None]
    return found


def _draw(*parts: str) -> str:
    return sha256("/".join(parts).encode()).hexdigest()


def _shuffled(kind: Kind, row: Row, rows: Sequence[Row]) -> Row | None:
    text, picture = ("prompt", "image") if kind == "gen" else ("instruction", "edited_image")
    others = [
        other
        for other in rows
        if other[text] != row[text] and other[picture]["seen_sha256"] != row[picture]["seen_sha256"]
    ]
    if not others:
        return None
    other = min(others, key=lambda other: _draw(row["row_id"], other["row_id"]))
    return {**row, text: other[text]}


def _blank(kind: Kind, row: Row, build: Path) -> Row:
    name = "image" if kind == "gen" else "edited_image"
    size = row[name]["seen_width"], row[name]["seen_height"]
    buffer = BytesIO()
    Image.new("RGB", size, GREY).save(buffer, "PNG")
    data = buffer.getvalue()
    path = build.absolute() / "pictures" / "blank" / f"{size[0]}x{size[1]}.png"
    seen = sha256(data).hexdigest()
    facts = {"sha256": seen, "path": store(path, data), "bytes_size": len(data), "format": "PNG"}
    shown = {"seen_sha256": seen, "seen_path": facts["path"], "seen_format": "PNG"}
    return {**row, name: {**row[name], **facts, **shown, "mode": "RGB", "notes": []}}


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
