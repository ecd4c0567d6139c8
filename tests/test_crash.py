"""kill -9 at random moments: nothing lost, nothing asked twice beyond what was in flight."""

import os
import random
import signal
import time

import pytest
from flow_cases import edit_source, flow_command, gen_source, rows_of, write_recipe
from real_servers import background, run, stop, wait_for
from stub_server import stub_process

from pipelines.law import check_law

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

AT_ONCE = 8
KILLS = 10
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

        recipe = write_recipe(tmp_path / "crash.yaml", kind, stub.url, crashed, source, **more)
        in_flight_at_kills = 0
        kills = 0
        while kills < KILLS:
            before = len(stub.requests())
            flow = background(flow_command(kind, recipe), tmp_path / "flow.log", prefect_env)
            # Mostly in the middle of asking; sometimes before the first or after the last request.
            moment = before + rng.randrange(1, needed // (2 * KILLS))
            late = rng.random() * 0.3
            wait_for(
                lambda moment=moment, flow=flow: (
                    len(stub.requests()) >= moment or flow.poll() is not None
                ),
                what="requests to kill in",
                poll_s=0.02,
            )
            if flow.poll() is not None:
                break
            time.sleep(late)
            os.kill(flow.pid, signal.SIGKILL)
            flow.wait()
            kills += 1
            in_flight_at_kills += AT_ONCE
            wait_for(lambda: stub.log()["running"] == 0, what="the stub to notice")
            stop(flow)
        done = run(flow_command(kind, recipe), prefect_env)
        assert done.returncode == 0, done.stdout + done.stderr
        requests = [r for r in stub.requests() if r["kind"] in known_kinds(kind)]

    assert kills == KILLS, "the run was over too soon"
    for table in TABLES[kind]:
        assert rows_of(crashed, table) == rows_of(calm, table)
    assert check_law(crashed) == check_law(calm)
    repeated = len(requests) - len({r["digest"] for r in requests})
    print(f"\n{kind}: {kills} kills, {len(requests)} requests, {repeated} repeated")
    assert repeated <= in_flight_at_kills
    assert list(crashed.glob("journal/*/*.jsonl")) == []


def known_kinds(kind):
    names = {
        "edit": ("edit_differences_v1", "edit_score_v1"),
        "gen": ("gen_checklist_v1", "gen_score_v1"),
    }
    return names[kind]
