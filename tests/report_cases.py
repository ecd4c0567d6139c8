"""Builds for tests of the report: small, finished, with rejects and with texts meant to do harm."""

import asyncio
import json
from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet as pq
from chain_cases import (
    chat_to,
    edit_rows,
    gen_rows,
    make_recipe,
    make_row,
    make_stages,
    run_bucket,
    write_bucket,
)
from stub_server import serve_stub

from pipelines.dataset import write_dataset
from pipelines.dataset_rows import REJECT_SCHEMA, SCORE_TABLES
from pipelines.dataset_settings import Gates
from pipelines.funnel import count_funnel
from pipelines.gates.contamination import read_benchmarks
from pipelines.law import check_law
from pipelines.stages import stage_digests

HARMFUL = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<!-- \u2028\u2029 '\" ]]> &lt;b&gt; \\u003c {{style}} `${1}`"
)


def finished_build(build, kind, *, rows=6, votes=1, reply=None):
    """A finished build of stub answers with two splits, a bad row and a duplicate.

    `reply` is put in the place of every reject's raw reply and of every rationale, in the dataset
    and in the table of scores.
    """
    make = gen_rows if kind == "gen" else edit_rows
    mine = make(build / "originals", **{"prompts" if kind == "gen" else "pairs": rows})
    for row in mine[4:8]:
        row["split"] = "validation"
    text = {"prompt": "A bad one."} if kind == "gen" else {"instruction": "A bad one."}
    bad = {"status": "rejected", "reason": "picture:missing", "detail": "gone.png: not there"}
    double = {"status": "duplicate", "duplicate_of": mine[0]["row_id"]}
    all_rows = [*mine, make_row(9000, **text) | bad, mine[0] | {"row_id": "f" * 20} | double]
    write_bucket(build, kind, all_rows)
    stages = stages_of(kind, votes)

    async def ask():
        async with serve_stub() as stub, chat_to(stub.url) as chat:
            await run_bucket(build, kind, stages, chat)

    asyncio.run(ask())
    make_dataset(build, kind, votes)
    if reply is not None:
        replace(build / "rejects", raw_reply=reply)
        replace(build / "dataset", reasoning=reply)
        replace(build / SCORE_TABLES[kind], reasoning=reply)
    return build


def stages_of(kind, votes):
    settings = {"votes": votes, "temperature": 0.7 if votes > 1 else 0.0}
    return make_stages(kind, **{SCORE_TABLES[kind]: settings})


def make_dataset(build, kind, votes, **recipe):
    """Write the dataset of a build whose rows were asked about, and its manifest."""
    # Contradictions are common in the stub's answers: rejects of a gate.
    plain = {"gates": {"contradiction": kind == "gen"}, "control_share": 0, "shard_rows": 1000}
    stages = stages_of(kind, votes)
    written = write_dataset(
        build,
        make_recipe(kind, **{**plain, **recipe}),
        stages,
        benchmarks=read_benchmarks([]),
        n_buckets=1,
    )
    finish(build, kind, stages, written)


def finish(build, kind, stages, written):
    law = check_law(build)
    manifest = {
        "kind": kind,
        "finished_at": "2026-01-01T00:00:00Z",
        "package_version": "0",
        "git_commit": None,
        "recipe": {"gates": Gates().model_dump(mode="json")},
        "stages": stage_digests(stages),
        "funnel": count_funnel(build, written.answers),
        "law": asdict(law),
        "splits": written.splits,
        "files": written.files,
        "scores": written.scores,
        "balance": written.balance or None,
        "controls": written.controls,
    }
    (build / "manifest.json").write_text(json.dumps(manifest))


def change_manifest(build, **values):
    path = build / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def lose_files(build, columns=("image",)):
    """Make `rows/` name files that are not there."""
    path = build / "rows" / "00000.parquet"
    rows, schema = pq.read_table(path).to_pylist(), pq.read_schema(path)
    for row in rows:
        for name in columns:
            if row[name]:
                row[name]["path"] = str(build / "went.png")
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def empty_pictures(build, columns=("image",)):
    """Take the pictures out of `dataset/`, as if reading them there were forbidden."""
    for path in (build / "dataset").glob("*.parquet"):
        table = pq.read_table(path)
        for name in columns:
            at = table.schema.get_field_index(name)
            nothing = pa.nulls(len(table), table.schema.field(name).type)
            table = table.set_column(at, table.schema.field(name), nothing)
        pq.write_table(table, path, row_group_size=100)


def replace(folder, **columns):
    """Put one value into a column of every Parquet file of a folder."""
    for path in folder.glob("*.parquet"):
        table = pq.read_table(path)
        for name, value in columns.items():
            at = table.schema.get_field_index(name)
            table = table.set_column(at, name, pa.array([value] * len(table), pa.string()))
        pq.write_table(table, path, row_group_size=100)


def many_rows(build, kept, rejects, *, picture_bytes=0):
    """`dataset/` of (axis, score) and `rejects/` of reasons alone, with pictures of some bytes."""
    (build / "dataset").mkdir(parents=True)
    (build / "rejects").mkdir()
    rows = [
        {"row_id": f"{i:020x}", "axis": axis, "score": score}
        for i, (axis, score) in enumerate(kept)
    ]
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema(
        [("row_id", pa.string()), ("axis", pa.string()), ("score", pa.int64()), ("image", image)]
    )
    with pq.ParquetWriter(build / "dataset" / "train-00000-of-00001.parquet", schema) as writer:
        for start in range(0, len(rows), 100):
            part = rows[start : start + 100]
            for row in part:
                noise = row["row_id"].encode() * (picture_bytes // 20)
                row["image"] = {"bytes": noise, "path": None}
            writer.write_table(pa.Table.from_pylist(part, schema=schema))
            for row in part:
                del row["image"]
    lost = [{"row_id": f"r{i:019x}", "reason": reason} for i, reason in enumerate(rejects)]
    table = pa.Table.from_pylist(lost, schema=REJECT_SCHEMA)
    pq.write_table(table, build / "rejects" / "00000.parquet", row_group_size=100)
    return build
