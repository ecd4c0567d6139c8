"""The flow as a person runs it: its output, a second run, and kill -9 in the middle."""

import json
import os
import random
import signal
import time
from dataclasses import asdict

import pytest
from preference_cases import (
    label_build,
    make_preferences,
    mine,
    preference_command,
    rows_in,
)
from real_servers import background, run, stop, wait_for
from stub_server import stub_process

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

AT_ONCE = 8
KILLS = ("asking", "end")
FOLDERS = ("preferences", "hard", "unpaired")


def test_kills_leave_what_an_undisturbed_run_leaves_and_ask_nothing_twice(tmp_path, prefect_env):
    rng = random.Random("kills of preferences")
    source = label_build(tmp_path / "b", "edit", [1 + i % 5 for i in range(160)])
    settings = {"rollouts": {"k": 8}, "pairs": {"most_pairs": 4}}
    calm = make_preferences(source, tmp_path / "calm", **settings)
    _, law, _ = mine(calm, {})
    assert law.paired > 50
    with stub_process(latency_s=(0.04, 0.12), slots=AT_ONCE) as stub:
        recipe = make_preferences(source, tmp_path / "o", stub.url, **settings)
        words = preference_command(recipe, tmp_path / "r.yaml", "--set", "shards_in_flight=1")
        for phase in KILLS:
            before = len(stub.requests())
            flow = background(words, tmp_path / "flow.log", prefect_env)
            if phase == "asking":
                moment = before + rng.randrange(20, 60)
                wait_for(
                    lambda moment=moment: len(stub.requests()) >= moment,
                    what="requests to kill in",
                    poll_s=0.02,
                )
                time.sleep(rng.random() * 0.3)
            else:
                wait_for((tmp_path / "o/.hard.new").exists, what="rows to write", poll_s=0.002)
            assert flow.poll() is None, f"over too soon to be killed: {phase}"
            os.kill(flow.pid, signal.SIGKILL)
            flow.wait()
            wait_for(lambda: stub.log()["running"] == 0, what="the stub to notice")
            stop(flow)
            assert not (tmp_path / "o/manifest.json").exists()
        requests, arrived = stub.requests(), stub.log()["arrived"]
        # The last kill came when all was answered, so what is left is to write it.
        done = run(words, prefect_env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert stub.log()["arrived"] == arrived  # not even a probe

    requests = [r for r in requests if r["kind"].endswith("_v1")]
    repeated = len(requests) - len({r["digest"] for r in requests})
    print(f"\n{len(KILLS)} kills, {len(requests)} requests, {repeated} repeated")
    assert repeated <= AT_ONCE * KILLS.count("asking")
    assert len({r["digest"] for r in requests if r["kind"] == "judge_score_v1"}) == 160
    for folder in FOLDERS:
        assert rows_in(tmp_path / "o", folder) == rows_in(tmp_path / "calm", folder)
    assert list((tmp_path / "o").glob("journal/*/*.jsonl")) == []
    assert f"preference law: 160 labelled = {law.paired} paired + {law.hard} hard" in done.stdout

    manifest = json.loads((tmp_path / "o/manifest.json").read_text())
    assert manifest["law"] == asdict(law)
    assert law.paired + law.hard + law.unpaired == law.labelled == 160
    assert sum(one["rows"] for one in manifest["labels"]) == 160
    assert sum(manifest["pairs"].values()) == law.pairs
    assert sum(manifest["unpaired"].values()) == law.unpaired
    assert sum(manifest["rollouts"].values()) == 8 * 160
    assert manifest["stages"]["judge_edit"]["sampling"]["temperature"] == 0.7
