"""The flows as a person runs them: what is asked, what is asked again, and what is refused."""

import json
import signal

import pytest
from flow_cases import edit_source, flow_command, gen_source, rows_of, tree_copy, write_recipe
from real_servers import background, run, wait_for
from stub_server import stub_process

from pipelines.law import check_law

pytestmark = pytest.mark.prefect


def counts(stub):
    """Requests at the server by schema, the probe's left out."""
    found = stub.log()["counts"]
    return {name: n for name, n in found.items() if name.endswith("_v1")}


def asked_since(stub, before):
    now = counts(stub)
    return {name: n - before.get(name, 0) for name, n in now.items() if n > before.get(name, 0)}


def test_work_shared_between_rows_is_asked_once_and_nothing_is_asked_twice(tmp_path, prefect_env):
    with stub_process() as stub:
        source = edit_source(tmp_path / "in", pairs=6, instructions=3)
        recipe = write_recipe(tmp_path / "r.yaml", "edit", stub.url, tmp_path / "out", source)
        done = run(flow_command("edit", recipe), prefect_env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert counts(stub) == {"edit_differences_v1": 6, "edit_score_v1": 36}
        assert "36 source = 36 dataset + 0 rejected + 0 duplicates" in done.stdout
        before, arrived = counts(stub), stub.log()["arrived"]
        again = run(flow_command("edit", recipe), prefect_env)
        assert again.returncode == 0, again.stdout + again.stderr
        assert asked_since(stub, before) == {}
        assert stub.log()["arrived"] == arrived  # not even a probe


def test_new_rows_alone_are_asked_when_the_source_grows(tmp_path, prefect_env):
    with stub_process() as stub:
        source = gen_source(tmp_path / "in", prompts=5, pictures=2)
        recipe = write_recipe(
            tmp_path / "r.yaml", "gen", stub.url, tmp_path / "out", source, buckets=2
        )
        assert run(flow_command("gen", recipe), prefect_env).returncode == 0
        before = counts(stub)
        assert before == {"gen_checklist_v1": 5, "gen_score_v1": 10}
        gen_source(tmp_path / "in", prompts=7, pictures=2)
        done = run(flow_command("gen", recipe), prefect_env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert asked_since(stub, before) == {"gen_checklist_v1": 2, "gen_score_v1": 4}
        assert check_law(tmp_path / "out").dataset == 14
        before = counts(stub)
        gen_source(tmp_path / "in", prompts=3, pictures=2)
        assert run(flow_command("gen", recipe), prefect_env).returncode == 0
        assert asked_since(stub, before) == {}
        funnel = json.loads((tmp_path / "out/manifest.json").read_text())["funnel"]
        # Answers of rows that went stay in their tables, and are not counted.
        assert [funnel[t]["ok"] for t in ("rows", "checklists", "gen_scores")] == [6, 3, 6]


def test_a_changed_rubric_asks_its_own_stage_alone_again(tmp_path, prefect_env):
    tree = tree_copy(tmp_path / "tree")
    env = prefect_env | tree
    with stub_process() as stub:
        source = edit_source(tmp_path / "in", pairs=4, instructions=2)
        recipe = write_recipe(tmp_path / "r.yaml", "edit", stub.url, tmp_path / "out", source)
        command, cwd = flow_command("edit", recipe), tmp_path / "tree"
        assert run(command, env, cwd=cwd).returncode == 0
        before, known = counts(stub), rows_of(tmp_path / "out", "edit_scores")
        rubric = cwd / "prompts" / "edit_consistency.v1.md"
        rubric.write_text(rubric.read_text().replace("no unintended change.", "nothing else."))
        done = run(command, env, cwd=cwd)
        assert done.returncode == 0, done.stdout + done.stderr
        assert asked_since(stub, before) == {"edit_score_v1": 8}
        new = {k: v for k, v in rows_of(tmp_path / "out", "edit_scores").items() if k not in known}
        assert {row["axis"] for row in new.values()} == {"consistency"}
        assert check_law(tmp_path / "out").dataset == 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shard_rowz": 3}, "shard_rowz"),
        ({"endpoints": {"judge": {"url": "http://127.0.0.1:9/v1"}}}, "needs 'model'"),
        ({"edit_scores": {"votes": 3}}, "edit_scores"),
        ({"sources": {"kind": "jsonl", "path": "rows.jsonl", "columns": {"img": "x"}}}, "img"),
        ({"sources": {"kind": "jsonl", "path": "not-there.jsonl"}}, "not-there.jsonl"),
    ],
)
def test_a_wrong_recipe_is_refused_by_field_before_a_server_is_asked(
    tmp_path, prefect_env, change, message
):
    source = edit_source(tmp_path / "in", pairs=1, instructions=1)
    with stub_process() as stub:
        recipe = write_recipe(
            tmp_path / "r.yaml", "edit", stub.url, tmp_path / "out", source, **change
        )
        done = run(flow_command("edit", recipe), prefect_env)
        assert done.returncode != 0
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert stub.log()["arrived"] == 0


def test_too_many_rejects_fail_the_run_but_keep_the_dataset(tmp_path, prefect_env):
    behaviour = {"violate_share": 0.5}
    with stub_process(**behaviour) as stub:
        source = gen_source(tmp_path / "in", prompts=6, pictures=3)
        recipe = write_recipe(tmp_path / "r.yaml", "gen", stub.url, tmp_path / "out", source)
        done = run(flow_command("gen", recipe), prefect_env)
        assert done.returncode == 1
        assert "reject_share: 0.1" in done.stderr
        law = check_law(tmp_path / "out")
        assert law.rejected > 0
        assert law.dataset + law.rejected == 18
        manifest = json.loads((tmp_path / "out/manifest.json").read_text())
        assert set(manifest["funnel"]["rejects"]) <= {"reply:schema", "upstream:checklists"}


def test_rows_that_a_gate_rejects_are_counted_with_their_reason_and_fail_no_run(
    tmp_path, prefect_env
):
    with stub_process() as stub:
        source = gen_source(tmp_path / "in", prompts=3, pictures=2)
        lines = (tmp_path / "in/rows.jsonl").read_text().splitlines()
        held = json.loads(lines[0])["prompt"]
        (tmp_path / "bench.jsonl").write_text(json.dumps({"text": held}))
        path, columns = str(tmp_path / "bench.jsonl"), {"prompt": "text"}
        benchmark = {"kind": "jsonl", "path": path, "name": "bench", "columns": columns}
        gates = {"contradiction": False, "benchmarks": [benchmark]}
        recipe = write_recipe(
            tmp_path / "r.yaml",
            "gen",
            stub.url,
            tmp_path / "out",
            source,
            gates=gates,
            reject_share=0,
        )
        done = run(flow_command("gen", recipe), prefect_env)
        assert done.returncode == 0, done.stdout + done.stderr
        law = check_law(tmp_path / "out")
        assert (law.dataset, law.rejected) == (4, 2)
        manifest = json.loads((tmp_path / "out/manifest.json").read_text())
        assert manifest["funnel"]["rejects"] == {"gate:contamination": 2}
        listed = (tmp_path / "out/contamination.csv").read_text().splitlines()
        assert listed[0] == "row_id,axis,benchmark,item,what"
        assert len(listed) == 3
        assert manifest["sets_not_wholly_compared"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_soon_and_the_next_one_finishes_it(tmp_path, prefect_env, number):
    with stub_process(latency_s=(0.2, 0.4)) as stub:
        source = gen_source(tmp_path / "in", prompts=30, pictures=8)
        more = {"endpoint": {"max_in_flight": 4}}
        recipe = write_recipe(
            tmp_path / "r.yaml", "gen", stub.url, tmp_path / "out", source, **more
        )
        flow = background(flow_command("gen", recipe), tmp_path / "log", prefect_env)
        wait_for(lambda: counts(stub).get("gen_score_v1", 0) > 3, what="some requests")
        flow.send_signal(number)
        assert flow.wait(30) != 0
        before = sum(counts(stub).values())
        stub.become(latency_s=(0.0, 0.0))
        done = run(flow_command("gen", recipe), prefect_env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert check_law(tmp_path / "out").dataset == 240
        assert sum(counts(stub).values()) <= 30 + 240 + 4
        assert before > 0


def test_a_damaged_shard_ends_the_run_with_what_to_do(tmp_path, prefect_env):
    with stub_process() as stub:
        source = gen_source(tmp_path / "in", prompts=3, pictures=2)
        recipe = write_recipe(tmp_path / "r.yaml", "gen", stub.url, tmp_path / "out", source)
        assert run(flow_command("gen", recipe), prefect_env).returncode == 0
        shard = next((tmp_path / "out/gen_scores").glob("*.parquet"))
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)
        done = run(flow_command("gen", recipe), prefect_env)
        assert done.returncode == 1
        assert f"{shard.name}: not the file its manifest describes; delete it" in done.stderr
        assert "Traceback" not in done.stderr
        shard.unlink()
        assert run(flow_command("gen", recipe), prefect_env).returncode == 0
        assert check_law(tmp_path / "out").dataset == 6


def test_a_bug_of_ours_crashes_with_its_trace(tmp_path, prefect_env):
    env = prefect_env | tree_copy(tmp_path / "tree")
    with stub_process() as stub:
        source = gen_source(tmp_path / "in", prompts=2, pictures=1)
        recipe = write_recipe(tmp_path / "r.yaml", "gen", stub.url, tmp_path / "out", source)
        code = tmp_path / "tree/pipelines/gen_flow.py"
        text = code.read_text()
        code.write_text(
            text.replace("    picture = row[", "    row['no such column']\n    picture = row[")
        )
        done = run(flow_command("gen", recipe), env, cwd=tmp_path / "tree")
        assert done.returncode != 0
        assert "Traceback" in done.stdout + done.stderr
        assert "no such column" in done.stdout + done.stderr


def test_a_request_that_always_fails_holds_up_its_own_shard_alone(tmp_path, prefect_env):
    with stub_process(refuse_status_share=0.02, refuse_status=500) as stub:
        source = gen_source(tmp_path / "in", prompts=20, pictures=4)
        recipe = write_recipe(
            tmp_path / "r.yaml",
            "gen",
            stub.url,
            tmp_path / "out",
            source,
            shard_rows=8,
            outage_timeout_s=8,
        )
        done = run(flow_command("gen", recipe), prefect_env, timeout_s=300)
        assert done.returncode == 1
        assert "told to refuse this row" in done.stderr
        stub.become(refuse_status_share=0.0)
        kept = len(rows_of(tmp_path / "out", "gen_scores"))
        assert 40 < kept < 80
        before = counts(stub)
        done = run(flow_command("gen", recipe), prefect_env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert sum(asked_since(stub, before).values()) <= 20
        assert check_law(tmp_path / "out").dataset == 80


def test_a_field_can_be_set_on_the_command_line(tmp_path, prefect_env):
    with stub_process() as stub:
        source = edit_source(tmp_path / "in", pairs=2, instructions=1)
        recipe = write_recipe(tmp_path / "r.yaml", "edit", stub.url, tmp_path / "out", source)
        other = ["--set", f"output={tmp_path / 'other'}", "--set", "edit_scores.attempts=1"]
        done = run([*flow_command("edit", recipe), *other], prefect_env)
        assert done.returncode == 0, done.stdout + done.stderr
        manifest = json.loads((tmp_path / "other/manifest.json").read_text())
        assert manifest["recipe"]["edit_scores"]["attempts"] == 1
        assert not (tmp_path / "out").exists()
        done = run([*flow_command("edit", recipe), "--set", "nonsense"], prefect_env)
        assert done.returncode == 2
        assert "write it as name=value" in done.stderr


def test_a_pool_goes_on_without_an_endpoint_that_is_down_at_start(tmp_path, prefect_env):
    with stub_process() as stub:
        source = edit_source(tmp_path / "in", pairs=3, instructions=2)
        pool = [{"url": url, "model": "stub"} for url in ("http://127.0.0.1:9/v1", stub.url)]
        recipe = write_recipe(
            tmp_path / "r.yaml",
            "edit",
            stub.url,
            tmp_path / "out",
            source,
            endpoints={"judge": pool},
            outage_timeout_s=2,
        )
        done = run(flow_command("edit", recipe), prefect_env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "going on without endpoint http://127.0.0.1:9/v1" in done.stdout + done.stderr
        assert check_law(tmp_path / "out").dataset == 12
        manifest = json.loads((tmp_path / "out/manifest.json").read_text())
        assert [p["reachable"] for p in manifest["endpoints"]["judge"]].count(False) == 1


def test_a_server_that_is_not_there_fails_the_run_with_its_address(tmp_path, prefect_env):
    source = gen_source(tmp_path / "in", prompts=2, pictures=1)
    url = "http://127.0.0.1:9/v1"
    recipe = write_recipe(
        tmp_path / "r.yaml", "gen", url, tmp_path / "out", source, outage_timeout_s=2
    )
    done = run(flow_command("gen", recipe), prefect_env)
    assert done.returncode == 1
    assert url in done.stderr
    assert "Traceback" not in done.stderr
