"""Small finished datasets written here row by row, for tests of what reads a dataset."""

import io
import json
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from pipelines.build import PICTURES
from pipelines.dataset_rows import dataset_schema


def picture(number, *, size=(48, 32), form="PNG"):
    """The bytes of a small picture that no other number has."""
    image = Image.new("RGB", size, (number * 37 % 256, number // 7 % 256, 180))
    ImageDraw.Draw(image).rectangle((4, 4, 8 + number % 30, 20), fill=(200, number % 256, 30))
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()


def make_row(kind, number, *, score=3, axis="execution", **more):
    """A row of `dataset/`; `number` decides its id, texts and pictures."""
    row = {
        "row_id": f"{number:020x}",
        "reasoning": f"The reasoning of row {number}, which nobody sees.",
        "score": score,
        "score_probs": [0.2] * 5,
        "score_expected": 3.0,
        "vote_scores": [score, score],
        "vote_spread": 0.0,
        "split": "train",
        "answer_id": f"answer-{number}-{axis}",
    }
    if kind == "gen":
        row |= {"prompt": f"Prompt {number // 2}.", "checklist": [], "verdicts": []}
    else:
        row |= {"instruction": f"Do thing {number}.", "axis": axis, "report": f"Report {number}."}
    data = {name: picture(2 * number + i) for i, name in enumerate(PICTURES[kind])}
    data |= more.pop("pictures", {})
    for name, value in data.items():
        digest = sha256(value).hexdigest()
        row |= {name: {"bytes": value, "path": f"{number}.png"}}
        row |= {f"{name}_sha256": digest, f"{name}_seen_sha256": digest}
    return row | more


def write_build(build, kind, rows, *, rows_per_group=4):
    """Write rows as the `dataset/` of a finished build, a file a split, and its manifest."""
    (build / "dataset").mkdir(parents=True, exist_ok=True)
    (build / "build.json").write_text(json.dumps({"kind": kind, "buckets": 1}))
    schema = dataset_schema(kind)
    for old in (build / "dataset").iterdir():
        old.unlink()
    files = {}
    for split in sorted({row["split"] for row in rows}):
        mine = [row for row in rows if row["split"] == split]
        columns = {name: [row.get(name) for row in mine] for name in schema.names}
        path = build / "dataset" / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.table(columns, schema=schema), path, row_group_size=rows_per_group)
        files[path.name] = len(mine)
    change_manifest(build, files=files)
    return build


def change_manifest(build, **values):
    """Put values into a build's manifest, which is made if there is none."""
    path = build / "manifest.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(old | values))
