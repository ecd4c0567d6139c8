"""kill -9 at random moments: nothing lost, nothing asked twice beyond what was in flight."""

import os
import random
import signal
import time

import pyarrow.parquet as pq
import pytest
from flow_cases import VOLATILE, edit_source, flow_command, gen_source, rows_of, write_recipe
from real_servers import background, run, stop, wait_for
from stub_server import stub_process

from pipelines.law import check_law

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

AT_ONCE = 8
# While rows are read, while they are asked about, and while the dataset is written.
KILLS = ("start", *["asking"] * 7, "end", "end")
TABLES = {"edit": ("differences", "edit_scores"), "gen": ("checklists", "gen_scores")}


def source_of(kind, folder):
    if kind == "edit":
        return edit_source(folder, pairs=40, instructions=6)
    return gen_source(folder, prompts=60, pictures=8)


@pytest.mark.parametrize("kind", ["edit", "gen"])
def test_ten_kills_leave_the_tables_of_an_undisturbed_run(kind, tmp_path, prefect_env):
    rng = random.Random(f"kills of {kind}")
    source = source_of(kind, tmp_path / "in")
    with stub_process(latency_s=(0.04, 0.12), slots=AT_ONCE) as stub:
        more = {"endpoint": {"max_in_flight": AT_ONCE}, "shard_rows": 60}
        calm, crashed = tmp_path / "calm", tmp_path / "crashed"
        recipe = write_recipe(tmp_path / "calm.yaml", kind, stub.url, calm, source, **more)
        done = run(flow_command(kind, recipe), prefect_env)
        assert done.returncode == 0, done.stdout + done.stderr
        needed = len(stub.requests())
        stub.reset()

        more["images"] = {"workers": 2}
        recipe = write_recipe(tmp_path / "crash.yaml", kind, stub.url, crashed, source, **more)
        for phase in KILLS:
            before = len(stub.requests())
            flow = background(flow_command(kind, recipe), tmp_path / "flow.log", prefect_env)
            if phase == "start":
                wait_for((crashed / "rows").exists, what="rows to kill in")
                time.sleep(rng.random())
            elif phase == "asking":
                moment = before + rng.randrange(1, needed // (2 * len(KILLS)))
                wait_for(
                    lambda moment=moment: len(stub.requests()) >= moment,
                    what="requests to kill in",
                    poll_s=0.02,
                )
                time.sleep(rng.random() * 0.3)
            else:
                wait_for((crashed / ".dataset.new").exists, what="a dataset", poll_s=0.002)
                time.sleep(rng.random() * 0.05)
            assert flow.poll() is None, f"over too soon to be killed: {phase}"
            os.kill(flow.pid, signal.SIGKILL)
            flow.wait()
            wait_for(lambda: stub.log()["running"] == 0, what="the stub to notice")
            stop(flow)
        done = run(flow_command(kind, recipe), prefect_env)
        assert done.returncode == 0, done.stdout + done.stderr
        requests = [r for r in stub.requests() if r["kind"] in known_kinds(kind)]

    for table in TABLES[kind]:
        assert rows_of(crashed, table) == rows_of(calm, table)
    assert check_law(crashed) == check_law(calm)
    assert dataset_of(crashed) == dataset_of(calm)
    repeated = len(requests) - len({r["digest"] for r in requests})
    print(f"\n{kind}: {len(KILLS)} kills, {len(requests)} requests, {repeated} repeated")
    assert repeated <= AT_ONCE * (len(KILLS) - KILLS.count("end"))
    assert list(crashed.glob("journal/*/*.jsonl")) == []


def dataset_of(build):
    """The rows of a dataset by id and axis, without what may differ between two equal runs."""
    rows = {}
    for path in sorted((build / "dataset").glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            plain = {k: v for k, v in row.items() if not k.endswith(tuple(VOLATILE))}
            rows[row["row_id"], row.get("axis")] = plain
    return rows


def known_kinds(kind):
    names = {
        "edit": ("edit_differences_v1", "edit_score_v1"),
        "gen": ("gen_checklist_v1", "gen_score_v1"),
    }
    return names[kind]
