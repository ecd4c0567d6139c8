"""The dataset: opened by `datasets`, true to the originals, and conserved row for row."""

import asyncio
import io
import json
import shutil
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
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
from PIL import Image
from stub_server import Behaviour, serve_stub

from pipelines.answers import NotAsked
from pipelines.build import PICTURES
from pipelines.dataset import write_dataset
from pipelines.dataset_rows import dataset_schema
from pipelines.funnel import add_answers, tell_leaks
from pipelines.gates.contamination import read_benchmarks
from pipelines.law import check_law
from pipelines.rendering import AXES

# May be null: no checkout, a model without a revision, a stage without pictures, no seed.
MAY_BE_NULL = ("git_commit", "revision", "system_sha256")
PROVENANCE = ("model", "prompt_id", "prompt_sha256", "schema_id", "schema_sha256", "sampling")
COUNTED = ("attempts", "finish_reason", "prompt_tokens", "completion_tokens", "answered_at")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One build of each kind, two buckets, a validation split, a bad row and a duplicate."""
    builds = {}
    for kind in PICTURES:
        folder = tmp_path_factory.mktemp(kind)
        builds[kind] = make_build(folder / "build", folder / "pictures", kind)
    return builds


def make_build(build, pictures, kind, behaviour=None, spoil=lambda stub: None):
    rows = (gen_rows if kind == "gen" else edit_rows)(pictures)
    for row in rows[4:]:
        row["split"] = "validation"
    bad = {"status": "rejected", "reason": "picture:missing", "detail": "gone.png: not there"}
    double = {"status": "duplicate", "duplicate_of": rows[0]["row_id"]}
    text = {"prompt": "A bad one."} if kind == "gen" else {"instruction": "A bad one."}
    ends = [make_row(90, **text) | bad, rows[0] | {"row_id": "f" * 20} | double]
    for bucket, mine in enumerate(([*rows[::2], *ends], rows[1::2])):
        write_bucket(build, kind, mine, bucket=bucket, n_buckets=2)

    async def run():
        async with serve_stub(behaviour) as stub, chat_to(stub.url) as chat:
            spoil(stub)
            for bucket in range(2):
                await run_bucket(build, kind, make_stages(kind), chat, bucket=bucket)

    asyncio.run(run())
    return build


@pytest.fixture
def build(made, tmp_path, request):
    """A copy of a build, with its pictures, that a test may spoil."""
    kind = getattr(request, "param", "gen")
    shutil.copytree(made[kind], tmp_path / "build")
    return tmp_path / "build"


def write(build, kind="gen", *, benchmarks=(), n_buckets=2, **recipe):
    return write_dataset(
        build,
        make_recipe(kind, **{"control_share": 0, "shard_rows": 1000, **recipe}),
        make_stages(kind),
        benchmarks=read_benchmarks(benchmarks),
        n_buckets=n_buckets,
    )


def load(build, cache):
    return datasets.load_dataset(
        "parquet", data_dir=str(build / "dataset"), cache_dir=str(cache / "cache")
    )


def dataset_rows(build):
    paths = sorted((build / "dataset").glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def rejects(build):
    paths = sorted((build / "rejects").glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def tree(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


both_kinds = pytest.mark.parametrize(
    ("build", "kind"), [("gen", "gen"), ("edit", "edit")], indirect=["build"]
)


@both_kinds
def test_datasets_opens_it_with_decoded_pictures(build, kind, tmp_path):
    write(build, kind)
    opened = load(build, tmp_path)
    n = 2 if kind == "edit" else 1
    assert {split: len(rows) for split, rows in opened.items()} == {
        "train": 4 * n,
        "validation": 2 * n,
    }
    for rows in opened.values():
        for name in PICTURES[kind]:
            assert isinstance(rows.features[name], datasets.Image)
        for row in rows:
            assert row["score"] in (1, 2, 3, 4, 5)
            for name in PICTURES[kind]:
                assert isinstance(row[name], Image.Image)
                assert row[name].size[1] == 16


@both_kinds
def test_what_a_gate_rejects_is_a_reject_with_what_was_written(build, kind, monkeypatch):
    write(build, kind)
    before, rejected = dataset_rows(build), check_law(build).rejected
    gated = before[0]
    key = (gated["row_id"], gated.get("axis"))

    def fault(row, gates):
        return ("gate:leak", "checklist") if (row["row_id"], row["axis"]) == key else None

    monkeypatch.setattr("pipelines.gates.build_gates.first_fault", fault)
    write(build, kind)
    assert check_law(build).rejected == rejected + 1
    assert len(dataset_rows(build)) == len(before) - 1
    (reject,) = [reject for reject in rejects(build) if reject["stage"] == "gates"]
    assert (reject["row_id"], reject["axis"]) == key
    found = reject["stage"], reject["reason"], reject["detail"]
    assert found == ("gates", "gate:leak", "checklist")
    said = json.loads(reject["raw_reply"])
    assert said == {"reasoning": gated["reasoning"], "score": gated["score"]}
    monkeypatch.undo()
    write(build, kind)
    assert dataset_rows(build) == before


def leaking(stub):
    """Let the stub cite the checklist: in all scores of "0 dogs", in the first ones of "1 dogs"."""
    reply = stub._reply

    def leaky_reply(body, *rest):
        data, fault = reply(body, *rest)
        asked, answer = json.dumps(body["messages"]), json.loads(data)
        if "0 dogs" in asked or ("1 dogs" in asked and "could not be used" not in asked):
            for choice in answer["choices"]:
                said = json.loads(choice["message"]["content"])
                if "reasoning" in said:
                    said["reasoning"] = "As the checklist says, the cat is there."
                    choice["message"]["content"] = json.dumps(said)
        return json.dumps(answer).encode(), fault

    stub._reply = leaky_reply


def test_scores_that_first_came_with_a_leak_are_counted_and_those_rejected_for_it(tmp_path):
    build = make_build(tmp_path / "build", tmp_path / "pictures", "gen", spoil=leaking)
    written = write(build, gates={"contradiction": False, "degenerate": False})
    reasons = [row["reason"] for row in rejects(build)]
    assert reasons.count("gate:leak") == 2
    assert sum(row["attempts"] == 2 for row in dataset_rows(build)) == 2
    counts = written.answers["gen_scores"]
    assert (counts["total"], counts["leaked"], counts["leaked_to_the_end"]) == (6, 4, 2)
    told = tell_leaks(written.answers, "gen")
    assert told == (
        "4 of 6 scores asked for (66.7%) first came with a leak; rejected for it in the end: 2."
    )
    # With the gate off nothing is rejected for it, and what was asked again is known still.
    written = write(build, gates={"leak": False, "contradiction": False, "degenerate": False})
    assert "(66.7%)" in tell_leaks(written.answers, "gen")
    assert "in the end: 0" in tell_leaks(written.answers, "gen")


def test_a_leak_that_was_never_asked_about_again_counts_as_one():
    row = {"answer_id": "a", "status": "ok", "reason": None, "faults": ["reply:schema: no"]}
    row |= {"attempts": 2, "prompt_tokens": 1, "completion_tokens": 1}
    counts = add_answers(None, [row, row | {"answer_id": "b", "faults": None}], leaks={"b"})
    assert (counts["leaked"], counts["leaked_to_the_end"]) == (1, 1)


def test_of_leaks_that_were_not_counted_nothing_is_told():
    assert tell_leaks({"gen_scores": {"total": 3}}, "gen") is None
    none = {"total": 3, "leaked": 0, "leaked_to_the_end": 0}
    assert tell_leaks({"gen_scores": none}, "gen") == "None of 3 scores asked for came with a leak."


@both_kinds
def test_the_bytes_inside_are_the_original_bytes(build, kind):
    write(build, kind)
    originals = {}
    for path in (build / "rows").glob("*.parquet"):
        for row in pq.read_table(path).to_pylist():
            originals |= {(row["row_id"], name): row[name] for name in PICTURES[kind]}
    for row in dataset_rows(build):
        for name in PICTURES[kind]:
            original = originals[row["row_id"], name]
            assert row[name]["bytes"] == Path(original["path"]).read_bytes()
            assert row[name]["path"] == Path(original["path"]).name
            assert row[f"{name}_sha256"] == original["sha256"]
            assert row[f"{name}_seen_sha256"] == original["seen_sha256"]


@both_kinds
def test_by_reference_the_paths_are_kept_and_still_open(build, kind, tmp_path):
    write(build, kind, images={"originals": "reference"})
    for row in dataset_rows(build):
        for name in PICTURES[kind]:
            assert row[name]["bytes"] is None
            assert Path(row[name]["path"]).is_absolute()
    for row in load(build, tmp_path)["train"]:
        assert all(isinstance(row[name], Image.Image) for name in PICTURES[kind])


@both_kinds
def test_every_row_can_be_asked_again_from_what_stands_in_it(build, kind):
    write(build, kind)
    upstream = "checklists" if kind == "gen" else "differences"
    rows = dataset_rows(build)
    assert rows
    for row in rows:
        for name in (*PROVENANCE, *COUNTED, "package_version"):
            assert row[name] is not None, name
            assert row[f"{upstream}_{name}"] is not None, name
        assert row["system_sha256"] is not None
        assert row["answer_id"]
        assert row[f"{upstream}_answer_id"]
        assert row["prompt_id"] != row[f"{upstream}_prompt_id"]
        # Given away with the dataset it would name the servers of a house.
        assert not [name for name in row if name.endswith("endpoint")]
        nulls = {name for name, value in row.items() if value is None}
        assert nulls <= {
            "source_id",
            "license",
            "metadata",
            "parent_id",
            "rewrite",
            "rewrites_id",
            "label_mass",
            *MAY_BE_NULL,
            *(f"{upstream}_{name}" for name in MAY_BE_NULL),
        }


def test_what_the_score_rests_on_stands_in_the_row(build):
    write(build)
    for row in dataset_rows(build):
        assert len(row["verdicts"]) == len(row["checklist"]) >= 3
        assert sum(row["score_probs"]) == pytest.approx(1)
        assert row["vote_scores"] == [row["score"]]
        assert row["prompt"].startswith("A cat")


@pytest.mark.parametrize("build", ["edit"], indirect=True)
def test_an_edit_is_a_row_for_each_axis_with_its_report(build):
    write(build, "edit")
    rows = dataset_rows(build)
    assert len({row["row_id"] for row in rows}) == 6
    for row in rows:
        assert row["report"]
        assert row["prompt_id"] == f"edit_{row['axis']}.v1"
        assert row["instruction"].startswith("Make change")
    assert [row["axis"] for row in rows] == list(AXES) * 6


@both_kinds
def test_the_law_holds_and_the_files_are_those_reported(build, kind):
    written = write(build, kind)
    law = check_law(build)
    assert law.dataset == sum(written.splits.values()) == sum(written.files.values())
    assert law.rejected == written.rejects == (2 if kind == "edit" else 1)
    assert sorted(p.name for p in (build / "dataset").iterdir()) == sorted(written.files)
    assert not [p.name for p in build.iterdir() if p.name.startswith((".dataset", ".rejects"))]


def test_large_splits_are_several_files_with_their_number_in_the_name(build, tmp_path):
    written = write(build, shard_rows=1)
    assert set(written.files.values()) == {1}
    assert set(written.files) == {
        f"{split}-{i:05d}-of-{rows:05d}.parquet"
        for split, rows in written.splits.items()
        for i in range(rows)
    }
    assert {split: len(rows) for split, rows in load(build, tmp_path).items()} == written.splits


def test_a_build_without_a_good_row_is_an_empty_dataset(tmp_path):
    rows = [make_row(1, prompt="p") | {"status": "rejected", "reason": "picture:empty"}]
    write_bucket(tmp_path, "gen", rows)
    written = write(tmp_path, n_buckets=1)
    assert (written.files, written.rejects) == ({}, 1)
    assert check_law(tmp_path).rejected == 1


# Writing again.


def test_the_same_tables_give_the_same_dataset(build):
    write(build)
    before = tree(build / "dataset"), tree(build / "rejects")
    write(build)
    assert (tree(build / "dataset"), tree(build / "rejects")) == before


def test_a_later_dataset_replaces_the_whole_of_the_one_before(build):
    write(build, shard_rows=1)
    (build / "dataset" / "train-left-over.parquet").write_bytes(b"")
    written = write(build)
    assert {p.name for p in (build / "dataset").iterdir()} == set(written.files)


def fail(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "step",
    [
        "pyarrow.parquet.ParquetWriter.write_table",
        "pyarrow.parquet.ParquetWriter.close",
        "pyarrow.parquet.write_table",
        "os.fsync",
        "os.replace",
    ],
)
def test_the_old_dataset_stands_when_the_new_one_cannot_be_written(build, monkeypatch, step):
    write(build)
    before = tree(build / "dataset"), tree(build / "rejects")
    with monkeypatch.context() as patch:
        patch.setattr(step, fail)
        with pytest.raises(OSError, match="No space left"):
            write(build)
    assert (tree(build / "dataset"), tree(build / "rejects")) == before
    assert not [p.name for p in build.iterdir() if p.name.endswith(".new")]
    check_law(build)
    write(build)
    assert (tree(build / "dataset"), tree(build / "rejects")) == before


def test_a_missing_answer_is_an_error_and_the_old_dataset_stands(build):
    write(build)
    before = tree(build / "dataset")
    for path in (build / "gen_scores").iterdir():
        path.unlink()
    with pytest.raises(NotAsked, match="gen_scores/"):
        write(build)
    assert tree(build / "dataset") == before


# Rejects.


def a_picture(build, bucket=0, name="image"):
    row = pq.read_table(build / "rows" / f"{bucket:05d}.parquet").to_pylist()[0]
    return row["row_id"], Path(row[name]["path"])


@pytest.fixture
def restored(build):
    """The picture of one row; its bytes are put back afterwards, other tests share it."""
    row_id, path = a_picture(build)
    data = path.read_bytes()
    yield row_id, path
    path.write_bytes(data)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("change", ["other picture", "cut short", "gone"])
def test_a_picture_that_is_not_the_one_judged_is_a_reject(build, restored, inside, change):
    row_id, path = restored
    if change == "other picture":
        out = io.BytesIO()
        Image.new("RGB", (40, 40), "red").save(out, "PNG")
        path.write_bytes(out.getvalue())
    elif change == "cut short":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    written = write(build, images={"originals": "inside" if inside else "reference"})
    assert written.rejects == 2
    (row,) = [row for row in rejects(build) if row["row_id"] == row_id]
    assert (row["stage"], row["reason"]) == ("dataset", "picture:changed")
    assert "put the picture back" in row["detail"]
    assert row["prompt"]
    assert row_id not in {row["row_id"] for row in dataset_rows(build)}
    check_law(build)


@pytest.mark.parametrize("kind", PICTURES)
def test_rejects_say_why_and_keep_the_raw_reply(tmp_path, kind):
    behaviour = Behaviour(violate_share=0.3, length_share=0.2)
    build = make_build(tmp_path / "build", tmp_path / "pictures", kind, behaviour)
    write(build, kind)
    law = check_law(build)
    found = rejects(build)
    assert law.rejected == len(found) > 2
    for row in found:
        assert row["reason"]
        assert row["stage"]
        assert row["source"] == "drawn"
        assert (row["axis"] in AXES) == (kind == "edit")
        if row["stage"] == "rows":
            assert row["detail"] == "gone.png: not there"
        else:
            assert row["raw_reply"]
            assert row["attempts"] == len(row["faults"]) == 3
    assert {"picture:missing"} < {row["reason"] for row in found}


def test_the_features_name_the_pictures_and_no_column_stands_twice():
    for kind, pictures in PICTURES.items():
        schema = dataset_schema(kind)
        assert len(schema.names) == len(set(schema.names))
        features = datasets.Features.from_arrow_schema(schema)
        assert {n for n, f in features.items() if isinstance(f, datasets.Image)} == set(pictures)
