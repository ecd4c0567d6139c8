"""Datasets to train on, and the commands that train: real rows, real TRL."""

import json
import os
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_cases import change_manifest, make_row, write_build
from real_servers import ROOT

from foundry.shapeworld.differences import as_item, differences
from foundry.shapeworld.drawing import jpeg_bytes
from foundry.shapeworld.lessons import score_edit, score_picture
from foundry.shapeworld.make import world_rows
from pipelines.rendering import AXES, SYSTEM_PROMPT, student_prompt
from prompts import load_prompt
from trainers.settings import SftRecipe

TRAIN_PYTHON = str(ROOT / ".venv-train/bin/python")
# `make test` builds this environment first, so it skips nothing; for pytest by hand without it.
needs_trainers = pytest.mark.skipif(
    not Path(TRAIN_PYTHON).exists(), reason="make train was not run"
)
BASE = ROOT / "foundry/shapeworld/student_base"


def world_build(folder, kind, n, *, seed=11, validation=0.25):
    """A finished build of ShapeWorld rows with true scores, and the reasons for them."""
    rows = []
    for number, (group, row) in zip(range(n), world_rows(kind, seed), strict=False):
        split = "validation" if group < validation * n / (2 if kind == "edit" else 4) else "train"
        pictures = {column: jpeg_bytes(p, Random(column)) for column, p in row.pictures.items()}
        told = evidence_of(kind, row)
        for axis, reply in student_replies(kind, row).items():
            about = {**row.texts, **reply, **told, "split": split, "pictures": dict(pictures)}
            rows.append(make_row(kind, number, axis=axis, **about))
    return write_build(folder, kind, rows)


def pair_build(folder, kind, n, *, seed=12, prompt_sha256="a" * 64):
    """Preferences on ShapeWorld rows: the true reply is chosen over one with another score."""
    rows = []
    for number, (group, row) in zip(range(n), world_rows(kind, seed), strict=False):
        split = "validation" if group % 3 == 2 else "train"
        cells = [
            {"bytes": jpeg_bytes(p, Random(column)), "path": f"{column}.jpg"}
            for column, p in row.pictures.items()
        ]
        for axis, reply in student_replies(kind, row).items():
            _, text = student_prompt(row.texts, axis)
            wrong = reply | {"score": reply["score"] % 5 + 1}
            rows.append(
                {
                    "row_id": f"{number:020x}",
                    "axis": axis,
                    "split": split,
                    "label_score": reply["score"],
                    "prompt": [
                        {"role": "system", "content": load_prompt(SYSTEM_PROMPT).text},
                        {"role": "user", "content": text},
                    ],
                    "chosen": _turn(reply),
                    "rejected": _turn(wrong),
                    "images": cells,
                    **{f"{side}_prompt_id": f"judge_{kind}.v1" for side in ("chosen", "rejected")},
                    **{f"{side}_prompt_sha256": prompt_sha256 for side in ("chosen", "rejected")},
                }
            )
    (folder / "preferences").mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation"):
        mine = [row for row in rows if row["split"] == split]
        path = folder / "preferences" / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist(mine), path, row_group_size=4)
    change_manifest(folder, kind=kind)
    return folder


def _turn(reply):
    return [{"role": "assistant", "content": json.dumps(reply, separators=(",", ":"))}]


def student_replies(kind, row):
    """The true reasoning and score by axis, None for a generated picture."""
    lessons = (score_edit if kind == "edit" else score_picture)(row, Random(0))
    wanted = {f"judge_edit.{axis}": axis for axis in AXES} | {"judge_gen": None}
    return {wanted[one.kind]: json.loads(one.reply) for one in lessons if one.kind in wanted}


def evidence_of(kind, row):
    """What a judge that sees everything has before it reasons."""
    if kind == "edit":
        return {"obvious": [as_item(d) for d in differences(*row.scenes.values())], "detailed": []}
    (reply,) = (one.reply for one in score_picture(row, Random(0)) if one.kind == "gen_score")
    return {"verdicts": json.loads(reply)["verdicts"]}


def command_of(trainer, output, data, *settings, python=TRAIN_PYTHON):
    """The command of a training with settings over the tiny recipe."""
    words = [f"data={json.dumps([str(d) for d in data])}", f"output={output}", *settings]
    recipe = f"trainers/recipes/shapeworld_{trainer}.yaml"
    command = [python, "-m", f"trainers.{trainer}", "--config", recipe]
    return command + [word for setting in words for word in ("--set", setting)]


def recipe(tmp_path, **change):
    """A recipe whose run is in `tmp_path`."""
    return SftRecipe(model="m", data=("d",), output=str(tmp_path / "out"), **change)


def training_env():
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}


def log_of(output):
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def losses(output):
    return {line["step"]: line["loss"] for line in log_of(output) if "loss" in line}


def tensors(folder):
    """The bytes of each tensor of a model, by name; no torch needed."""
    data = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    return {
        name: data[8 + size + entry["data_offsets"][0] : 8 + size + entry["data_offsets"][1]]
        for name, entry in header.items()
    }
