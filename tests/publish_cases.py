"""Small finished builds to publish, and manifests with all that later builds have in them."""

import asyncio
import json
from dataclasses import asdict

import pyarrow.parquet as pq
from chain_cases import (
    chat_to,
    edit_rows,
    gen_rows,
    make_recipe,
    make_stages,
    run_bucket,
    write_bucket,
)
from stub_server import serve_stub

from pipelines.build import read_build
from pipelines.dataset import write_dataset
from pipelines.funnel import count_funnel
from pipelines.gates.contamination import read_benchmarks
from pipelines.law import check_law
from pipelines.stages import stage_digests


def recipe_of(kind, **more):
    # The stub's verdicts and scores are drawn apart, so many contradict each other.
    gates = {"contradiction": False, "duplicate": False}
    return make_recipe(kind, gates=gates, control_share=0, **more)


def finished_build(build, kind="gen", *, sources=(("drawn", None),), files=1, rows=None):
    """A build with a manifest: a train split of `files` files, and a validation split of one.

    `sources` are names and licences, given to the rows in turn.
    """
    rows = rows or (gen_rows if kind == "gen" else edit_rows)(build.parent / "pictures")
    for i, row in enumerate(rows):
        name, license_name = sources[i % len(sources)]
        row |= {"source": name, "license": license_name}
    train, n_a_file = rows[:-2], -(-len(rows[:-2]) // files)
    validation = rows[-2:][:n_a_file]
    for row in validation:
        row["split"] = "validation"
    for bucket in range(files):
        mine = train[bucket::files] + (validation if bucket == 0 else [])
        write_bucket(build, kind, mine, bucket=bucket, n_buckets=files)

    async def run():
        async with serve_stub() as stub, chat_to(stub.url) as chat:
            for bucket in range(files):
                await run_bucket(build, kind, make_stages(kind), chat, bucket=bucket)

    asyncio.run(run())
    finish(build, kind, rows_per_file=n_a_file)
    return build


def finish(build, kind, *, rows_per_file):
    """Write the dataset and its manifest, as a flow does at its end."""
    recipe, n_buckets = recipe_of(kind, shard_rows=rows_per_file), read_build(build)["buckets"]
    stages = make_stages(kind)
    written = write_dataset(
        build, recipe, stages, benchmarks=read_benchmarks([]), n_buckets=n_buckets
    )
    law = check_law(build)
    manifest = {
        "kind": kind,
        "finished_at": "2026-11-27T09:59:19Z",
        "package_version": "0.1.0",
        "git_commit": "9113e6d9772d",
        "recipe": recipe.model_dump(mode="json"),
        "buckets": n_buckets,
        "stages": stage_digests(stages),
        "endpoints": {},
        "requests": {},
        "funnel": count_funnel(build, written.answers),
        "sets_not_wholly_compared": written.capped,
        "law": asdict(law),
        "splits": written.splits,
        "files": written.files,
    }
    (build / "manifest.json").write_text(json.dumps(manifest))


def change_manifest(build, change):
    """Let `change` work on a build's manifest."""
    path = build / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def count_scores(build):
    """`scores` of the manifest, counted from the dataset; before is as after."""
    counts = {}
    for path in sorted((build / "dataset").glob("*.parquet")):
        table = pq.read_table(path)
        axes = table["axis"].to_pylist() if "axis" in table.column_names else [None] * len(table)
        for axis, score in zip(axes, table["score"].to_pylist(), strict=True):
            key = path.name.split("-")[0], axis
            counts.setdefault(key, [0] * 5)[score - 1] += 1
    return [
        {"split": split, "axis": axis, "before": list(n), "after": n}
        for (split, axis), n in counts.items()
    ]


def add_findings(build):
    """Give a build all that later builds have: scores, balance, controls, an audit. The scores are
    those of the dataset; the other figures are made up, each different from the others.
    """
    scores = count_scores(build)
    scores[0]["before"] = [n + 37 + 11 * i for i, n in enumerate(scores[0]["after"])]
    balance = [
        {
            **{name: scores[0][name] for name in ("split", "axis", "before", "after")},
            "target": [0.2, 0.2, 0.2, 0.2, 0.2],
            "kept_share": 0.617,
            "effective_before": 314.15,
            "effective_after": 493.2,
            "largest_deviation": 0.013,
        }
    ]
    axes = [entry["axis"] for entry in scores[:2]] if scores[0]["axis"] else [None]
    names = ("identical", "shuffled", "blank") if axes[0] else ("shuffled", "blank")
    controls = [
        {
            "control": name,
            "axis": axis,
            "n": 41 + i + 3 * j,
            "rejected": 1 + i,
            "expected": None if name == "identical" and j else [1, 2],
            "as_expected": None if name == "identical" and j else 38 + i + j,
            "mean_score": 1.21 + i / 10,
        }
        for i, name in enumerate(names)
        for j, axis in enumerate(axes)
    ]
    scored = sum(96 + j for j in range(len(axes)))
    audit = {
        "audited_at": "2026-11-28T10:00:00Z",
        "rows": scored + 7 + 3,
        "scored": scored,
        "unsure": 7,
        "unanswered": 0,
        "gone": 3,
        "file": "scores.json",
        "axes": [
            {
                "axis": axis,
                "n": 96 + j,
                "mae": 0.52 + j / 100,
                "mae_interval": [0.41, 0.63],
                "kappa": 0.71 + j / 100,
                "kappa_interval": [0.6, 0.8],
            }
            for j, axis in enumerate(axes)
        ],
    }
    (build / "audit.json").write_text(json.dumps(audit))
    found = {"scores": scores, "balance": balance, "controls": controls}
    change_manifest(build, lambda manifest: manifest.update(found))
    return found | {"audit": audit}
