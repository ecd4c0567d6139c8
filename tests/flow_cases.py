"""Sources and recipes for tests of whole flows, drawn here: no picture is needed from outside."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import yaml
from PIL import Image, ImageDraw
from real_servers import PYTHON, ROOT

from pipelines.shards import shard_paths

VOLATILE = {"answered_at", "took_s", "attempts", "faults", "endpoint", "git_commit"}


def draw_picture(path, number, *, edited=0):
    image = Image.new("RGB", (64, 48), (number * 37 % 256, 200, 240))
    draw = ImageDraw.Draw(image)
    draw.rectangle((4, 4, 20 + number % 30, 30), fill=(200, number * 13 % 256, 30))
    if edited:
        draw.ellipse((30, 10, 40 + edited, 40), fill=(edited * 60 % 256, 90, 10))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def edit_source(folder, *, pairs, instructions):
    """Write picture pairs with several instructions each; returns the source of a recipe."""
    rows = []
    for i in range(pairs):
        names = f"p/{i}-source.png", f"p/{i}-edited.png"
        draw_picture(folder / names[0], i)
        draw_picture(folder / names[1], i, edited=1 + i % 5)
        for j in range(instructions):
            text = f"Make change number {j} to the rectangle."
            rows.append({"source_image": names[0], "edited_image": names[1], "instruction": text})
    write_rows(folder / "rows.jsonl", rows)
    return {"kind": "jsonl", "path": str(folder / "rows.jsonl")}


def gen_source(folder, *, prompts, pictures):
    """Write `prompts` prompts with several pictures each; returns the source of a recipe."""
    rows = []
    for i in range(prompts):
        for j in range(pictures):
            name = f"g/{i}-{j}.png"
            draw_picture(folder / name, i * 7 + j, edited=j)
            rows.append({"image": name, "prompt": f"A rectangle and {i} small things beside it."})
    write_rows(folder / "rows.jsonl", rows)
    return {"kind": "jsonl", "path": str(folder / "rows.jsonl")}


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_recipe(path, kind, url, output, source, **more):
    """Write a recipe with every role at one endpoint; returns its path."""
    endpoint = {"url": url, "model": "stub", **more.pop("endpoint", {})}
    roles = ("planner", "judge") if kind == "gen" else ("judge",)
    recipe = {
        "output": str(output),
        "sources": source,
        "endpoints": dict.fromkeys(roles, endpoint),
        "shard_rows": 20,
        # The stub's verdicts and scores are drawn apart, so many contradict each other.
        "gates": {"contradiction": False},
        "control_share": 0,
        # A second process starts in the time that one needs for these.
        "images": {"workers": 1},
        **more,
    }
    path.write_text(yaml.safe_dump(recipe))
    return path


def flow_command(kind, recipe):
    return [PYTHON, "-m", f"flows.build_firm_{kind}", str(recipe)]


def rows_of(build, table):
    """All rows of a table of answers by id, without what may differ between two equal runs."""
    found = {}
    for path in shard_paths(Path(build) / table):
        for row in pq.read_table(path).to_pylist():
            found[row["answer_id"]] = {k: v for k, v in row.items() if k not in VOLATILE}
    return found


def tree_copy(folder):
    """A copy of the packages, to change a file in; returns the environment that runs it."""
    import shutil

    for name in ("schemas", "prompts", "pipelines", "flows", "foundry", "trainers"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return {**os.environ, "PYTHONPATH": str(folder)}
