import asyncio
import json
from collections import Counter
from typing import get_args

import pyarrow.parquet as pq
import pytest
from chain_cases import (
    chat_to,
    completion,
    edit_rows,
    make_recipe,
    make_stages,
    run_bucket,
    write_bucket,
)
from flow_cases import edit_source, flow_command, rows_of, write_recipe
from pydantic import ValidationError
from real_servers import run
from stub_server import serve_stub, stub_process

from pipelines.build import read_build
from pipelines.dataset import write_dataset
from pipelines.dataset_rows import bucket_outcomes, sort_outcomes
from pipelines.dataset_settings import Gates
from pipelines.gates.build_gates import near_rows_of
from pipelines.gates.contamination import read_benchmarks
from pipelines.law import check_law
from pipelines.rewrites import MISMATCHES, rewritten_rows
from pipelines.rows import read_rows
from pipelines.settings import RewriteKind, RewriteSettings

EVERY = dict.fromkeys(MISMATCHES, 1.0)
TWO = {"other_object": 1.0, "extra_demand": 1.0}


def rewritten(rows, per_row):
    return rewritten_rows(rows, RewriteSettings(per_row=per_row))


def test_every_kind_that_a_recipe_can_name_is_explained():
    assert set(get_args(RewriteKind)) == set(MISMATCHES)


def test_a_kind_gets_its_share_of_the_rows_and_no_row_twice(tmp_path):
    rows = edit_rows(tmp_path, pairs=5, instructions=40)
    assert rewritten(rows, {}) == []
    made = rewritten(rows, {"other_attribute": 1.0, "other_object": 0.3})
    counts = Counter(row["rewrite"] for row in made)
    assert counts["other_attribute"] == len(rows) == 200
    assert 40 <= counts["other_object"] <= 80
    assert len({row["row_id"] for row in made}) == len(made)
    assert {row["parent_id"] for row in made} == {row["row_id"] for row in rows}


def test_another_kind_or_share_changes_no_other_row(tmp_path):
    rows = edit_rows(tmp_path, pairs=5, instructions=40)
    ids = [
        {row["row_id"] for row in rewritten(rows, per_row)}
        for per_row in ({"other_object": 0.3}, {"other_object": 0.5}, EVERY)
    ]
    assert ids[0] < ids[1] < ids[2]


def test_further_rows_change_nothing_for_those_that_were_there(tmp_path):
    rows = edit_rows(tmp_path, pairs=5, instructions=4)
    some = {"extra_demand": 0.5, "other_object": 0.5}
    before, after = rewritten(rows[:9], some), rewritten(rows, some)
    assert [row["row_id"] for row in after[: len(before)]] == [row["row_id"] for row in before]


def test_a_row_that_is_rejected_or_there_already_is_not_rewritten(tmp_path):
    rows = edit_rows(tmp_path)
    rows[0]["status"], rows[1]["status"] = "rejected", "duplicate"
    parents = {row["parent_id"] for row in rewritten(rows, TWO)}
    assert parents == {row["row_id"] for row in rows[2:]}


@pytest.mark.parametrize(
    "wrong",
    [1.5, {"nonsense": 0.5}, {"other_object": 1.5}, {"other_object": 0}, {"other_object": -1}],
)
def test_shares_that_are_none_and_unknown_kinds_are_refused(wrong):
    with pytest.raises(ValidationError):
        make_recipe("edit", rewrites={"per_row": wrong})


def test_the_writer_may_be_another_model_and_is_the_judge_without_one():
    plain = make_recipe("edit", rewrites={"per_row": TWO})
    assert plain.roles()["rewriter"] == plain.endpoints.judge
    judge = {"url": "http://127.0.0.1:1/v1", "model": "stub"}
    writer = {"url": "http://127.0.0.1:2/v1", "model": "text"}
    other = make_recipe(
        "edit", rewrites={"per_row": TWO}, endpoints={"judge": judge, "rewriter": writer}
    )
    assert other.roles()["rewriter"][0].model == "text"
    assert "rewriter" not in make_recipe("edit").roles()


def build_of(tmp_path, rows, *, writer=None, **settings):
    """Rows and rejects of one bucket in which every row is rewritten once, and what was asked.

    `writer` makes the text of the replies to requests to rewrite; the stub does without one.
    """
    settings = {"per_row": {"other_object": 1.0}, **settings}
    rows = rows + rewritten_rows(rows, RewriteSettings(**settings))
    stages, build = make_stages("edit", rewrites=settings), tmp_path / "build"
    write_bucket(build, "edit", rows)
    asked = []

    async def work():
        async with serve_stub() as stub, chat_to(stub.url) as chat:
            answer = stub._reply

            def reply(body, *rest):
                asked.append(body["response_format"]["json_schema"]["name"])
                if writer and asked[-1] == "rewrite_instruction_v1":
                    return completion(writer(body)), None
                return answer(body, *rest)

            stub._reply = reply
            await run_bucket(build, "edit", stages, chat)

    asyncio.run(work())
    found = bucket_outcomes(build, "edit", 0, stages)
    return *sort_outcomes("edit", found.rows, found.outcomes), Counter(asked)


def test_a_rewritten_row_shares_its_parents_differences_and_has_an_instruction_of_its_own(tmp_path):
    rows = edit_rows(tmp_path)
    kept, rejects, asked = build_of(tmp_path, rows)
    assert rejects == []
    parents = {(row["row_id"], row["axis"]): row for row in kept if not row["rewrite"]}
    children = [row for row in kept if row["rewrite"]]
    assert len(parents) == len(children) == 2 * len(rows)
    for child in children:
        parent = parents[child["parent_id"], child["axis"]]
        assert child["instruction"] != parent["instruction"]
        assert child["rewrites_id"]
        assert child["report"] == parent["report"]
        assert child["differences_answer_id"] == parent["differences_answer_id"]
        assert child["answer_id"] != parent["answer_id"]
    assert asked["edit_differences_v1"] == 3
    assert asked["edit_score_v1"] == 4 * len(rows)


def test_a_rewriting_that_fails_rejects_its_row_alone(tmp_path):
    rows = edit_rows(tmp_path)
    kept, rejects, _ = build_of(tmp_path, rows, writer=lambda body: "{}", attempts=1)
    assert {row["rewrite"] for row in kept} == {None}
    assert len(kept) == len(rejects) == 2 * len(rows)
    assert {row["reason"] for row in rejects} == {"upstream:rewrites"}
    assert all(row["parent_id"] and row["raw_reply"] for row in rejects)


def test_the_original_instruction_again_is_no_rewriting(tmp_path):
    rows = edit_rows(tmp_path, pairs=1, instructions=1)
    kept, rejects, asked = build_of(
        tmp_path, rows, writer=lambda body: '{"instruction":"make  change 0"}', attempts=2
    )
    assert asked["rewrite_instruction_v1"] == 2
    assert len(kept) == 2
    assert {row["reason"] for row in rejects} == {"upstream:rewrites"}
    assert "reply:repeated" in rejects[0]["faults"][0]


def test_rows_rewritten_to_one_text_are_one_row(tmp_path):
    rows = edit_rows(tmp_path, pairs=1, instructions=1)
    made = rows + rewritten_rows(rows, RewriteSettings(per_row=TWO))
    kept, _, _ = build_of(
        tmp_path, rows, writer=lambda body: '{"instruction":"Turn it."}', per_row=TWO
    )
    assert len(kept) == 2 * len(made) == 6
    recipe = make_recipe("edit", rewrites={"per_row": TWO}, control_share=0,
                         gates={"contradiction": False, "leak": False, "degenerate": False,
                                "grounding": False, "duplicate": False})  # fmt: skip
    written = write_dataset(
        tmp_path / "build",
        recipe,
        make_stages("edit", rewrites={"per_row": TWO}),
        benchmarks=read_benchmarks([]),
        n_buckets=1,
    )
    assert (sum(written.splits.values()), written.rejects) == (4, 2)
    assert check_law(tmp_path / "build").source == 6


def test_another_wording_of_a_mismatch_asks_again(tmp_path, monkeypatch):
    rows = edit_rows(tmp_path, pairs=1, instructions=1)
    _, _, first = build_of(tmp_path, rows)
    other = dict.fromkeys(MISMATCHES, "it asks for something else.")
    monkeypatch.setattr("pipelines.rewrites.MISMATCHES", other)
    _, _, again = build_of(tmp_path, rows)
    assert first["rewrite_instruction_v1"] == again["rewrite_instruction_v1"] == 1


def test_rewritten_rows_of_one_parent_text_are_no_near_duplicates_of_it(tmp_path):
    rows = edit_rows(tmp_path, pairs=1, instructions=1)
    for row in rows:
        for side in ("source_image", "edited_image"):
            row[side] |= {"phash": "0" * 64, "colour": "0" * 96}
    made = rewritten_rows(rows, RewriteSettings(per_row=TWO))
    write_bucket(tmp_path / "build", "edit", rows + made)
    assert near_rows_of(tmp_path / "build", "edit", Gates()).sets == {}


@pytest.mark.prefect
def test_a_build_with_rewritten_rows_keeps_the_law_and_asks_nothing_twice(tmp_path, prefect_env):
    source, build = edit_source(tmp_path / "in", pairs=8, instructions=2), tmp_path / "build"
    with stub_process() as stub:
        recipe = write_recipe(
            tmp_path / "r.yaml",
            "edit",
            stub.url,
            build,
            source,
            rewrites={"per_row": {"other_object": 0.9, "extra_demand": 0.5}},
        )
        first = run(flow_command("edit", recipe), prefect_env)
        assert first.returncode == 0, first.stdout + first.stderr
        arrived, answers = stub.log()["arrived"], rows_of(build, "rewrites")
        again = run(flow_command("edit", recipe), prefect_env)
        assert again.returncode == 0, again.stdout + again.stderr
        assert stub.log()["arrived"] == arrived
        fewer = recipe.read_text().replace("other_object: 0.9", "other_object: 0.1")
        assert fewer != recipe.read_text()
        law, n_rows = check_law(build), rows_in(build)
        before = manifest_of(build)
        recipe.write_text(fewer)
        assert run(flow_command("edit", recipe), prefect_env).returncode == 0
        # Fewer rewritten rows of an existing build, and nothing asked for it.
        assert 16 < rows_in(build) < n_rows
        assert stub.log()["arrived"] == arrived
        recipe.write_text(fewer.replace("other_object: 0.1", "other_object: 0.9"))
        assert run(flow_command("edit", recipe), prefect_env).returncode == 0
        assert manifest_of(build)["splits"] == before["splits"]
    assert law.source == 2 * n_rows == law.dataset
    assert 16 + 16 < n_rows <= 48
    # The same instruction is rewritten once a bucket, however many pairs have it.
    assert 0 < len(answers) <= n_rows - 16
    manifest = manifest_of(build)
    assert manifest["funnel"]["rows"]["rewritten"] == n_rows - 16
    rows = [
        row
        for path in (build / "dataset").glob("*.parquet")
        for row in pq.read_table(path, columns=["row_id", "parent_id", "rewrite"]).to_pylist()
    ]
    ids = {row["row_id"] for row in rows}
    assert all(row["parent_id"] in ids for row in rows if row["rewrite"])


def rows_in(build):
    return sum(len(read_rows(build, bucket)) for bucket in range(read_build(build)["buckets"]))


def manifest_of(build):
    return json.loads((build / "manifest.json").read_text())
