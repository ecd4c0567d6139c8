"""The bundled judge on a real vLLM: both flows, photographs, kills, the demo, ShapeBench."""

import json
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import polars as pl
import pytest
from datasets import load_dataset
from flow_cases import flow_command, gen_source, write_recipe
from preference_cases import make_preferences, preference_command
from real_servers import JUDGE, PYTHON, ROOT, background, run, stop, wait_for
from reward_cases import Rewards
from training_cases import world_build

from foundry.evals.command import Judge
from foundry.evals.run import shapebench
from foundry.rewards.client import edit_item, gen_item, score
from foundry.shapeworld.make import world_rows
from pipelines.law import check_law

pytestmark = [pytest.mark.vllm, pytest.mark.prefect, pytest.mark.slow]
DATA = ROOT.parent / "shared" / "data"
real_pictures = pytest.mark.skipif(
    not DATA.is_dir(), reason="the real pictures are not part of the project (../shared/data)"
)


def recipe_for(path, kind, vllm, output, source, **more):
    endpoint = {"model": JUDGE, **more.pop("endpoint", {})}
    images = {"max_side_px": 96, "workers": 1}
    more = {"images": images, "endpoint": endpoint, **more}
    return write_recipe(path, kind, vllm.url, output, source, **more)


def manifest_of(build):
    return json.loads((build / "manifest.json").read_text())


def answered_well(manifest, table):
    counts = manifest["funnel"][table]
    return counts["ok"] / counts["total"]


def photos_with_prompts(folder, *, photos, shuffles):
    """So many photographs with their own prompts, or with others' for a shuffle above 0."""
    lines = (DATA / "photos.jsonl").read_text().splitlines()[:photos]
    rows = [json.loads(line) for line in lines]
    prompts = [row["prompt"] for row in rows]
    path = folder / "photos.jsonl"
    with open(path, "w") as file:
        for shift in shuffles:
            for i, row in enumerate(rows):
                prompt = prompts[(i + 7 * shift) % len(prompts)]
                file.write(json.dumps({"image": row["image"], "prompt": prompt}) + "\n")
    return {"kind": "jsonl", "path": str(path), "image_root": str(DATA)}


def requests_of(manifest, tables):
    """Requests that the finished tables rest on."""
    return sum(manifest["funnel"][table]["attempts"] for table in tables)


@real_pictures
def test_real_edits_become_a_dataset_with_each_pair_described_once(vllm, tmp_path, prefect_env):
    source = {
        "kind": "jsonl",
        "path": str(DATA / "edits.jsonl"),
        "columns": {"source_image": "source", "edited_image": "edited"},
    }
    weighed = {"edit_scores": {"label_mass_share": 1.0}}
    recipe = recipe_for(tmp_path / "r.yaml", "edit", vllm, tmp_path / "edit", source, **weighed)
    before = vllm.answered()
    done = run(flow_command("edit", recipe), prefect_env, timeout_s=600)
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = manifest_of(tmp_path / "edit")
    law = check_law(tmp_path / "edit")
    assert law.source == 48
    assert manifest["funnel"]["differences"]["total"] == 24
    assert manifest["funnel"]["edit_scores"]["total"] <= 48
    for table in ("differences", "edit_scores"):
        assert answered_well(manifest, table) >= 0.9
    asked = requests_of(manifest, ("differences", "edit_scores"))
    asked += manifest["funnel"]["edit_scores"]["ok"]
    probes = sum(len(p) for p in manifest["endpoints"].values()) * PROBE_REQUESTS
    assert asked <= vllm.answered() - before <= asked + probes
    data = load_dataset("parquet", data_dir=str(tmp_path / "edit" / "dataset"))
    rows = data["train"]
    assert rows[0]["source_image"].size[0] > 96  # the original, not what the model saw
    for row in rows.remove_columns(["source_image", "edited_image"]):
        assert row["score"] in (1, 2, 3, 4, 5)
        assert row["score_probs"] is not None
        assert abs(sum(row["score_probs"]) - 1) < 1e-6
        assert row["vote_scores"] == [row["score"]]
        # Photographs are nothing that it knows, and some replies come of the form alone.
        assert 0 < row["label_mass"] <= 1
    assert max(rows["label_mass"]) > 0.95


PROBE_REQUESTS = 8


@real_pictures
def test_photographs_with_right_and_shuffled_prompts_share_their_checklists(
    vllm, tmp_path, prefect_env
):
    source = photos_with_prompts(tmp_path, photos=16, shuffles=(0, 1))
    recipe = recipe_for(tmp_path / "r.yaml", "gen", vllm, tmp_path / "gen", source)
    before = vllm.answered()
    done = run(flow_command("gen", recipe), prefect_env, timeout_s=600)
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = manifest_of(tmp_path / "gen")
    assert check_law(tmp_path / "gen").source == 32
    assert manifest["funnel"]["checklists"]["total"] == 16
    for table in ("checklists", "gen_scores"):
        assert answered_well(manifest, table) >= 0.9
    asked = requests_of(manifest, ("checklists", "gen_scores"))
    probes = sum(len(p) for p in manifest["endpoints"].values()) * PROBE_REQUESTS
    assert asked <= vllm.answered() - before <= asked + probes
    data = load_dataset("parquet", data_dir=str(tmp_path / "gen" / "dataset"))
    for row in data["train"].remove_columns(["image"]):
        assert len(row["verdicts"]) == len(row["checklist"])
        assert [v["id"] for v in row["verdicts"]] == [
            f"c{i + 1}" for i in range(len(row["verdicts"]))
        ]


def test_kills_on_both_sides_lose_nothing(vllm, tmp_path, prefect_env):
    """kill -9 of the flow at random moments, and of vLLM three times, in one build."""
    rng = random.Random(7)
    source = gen_source(tmp_path / "in", prompts=40, pictures=8)
    recipe = recipe_for(
        tmp_path / "r.yaml",
        "gen",
        vllm,
        tmp_path / "gen",
        source,
        shard_rows=80,
        reject_share=0.5,
        outage_timeout_s=300,
        endpoint={"max_in_flight": 16},
    )
    flow = None
    kills = {"flow": 0, "server": 0}
    for victim in ("flow", "server", "flow", "server", "flow", "server"):
        if flow is None or flow.poll() is not None:
            flow = background(flow_command("gen", recipe), tmp_path / "flow.log", prefect_env)
        moment = answers_kept(tmp_path / "gen") + rng.randrange(5, 25)
        wait_for(
            lambda moment=moment, flow=flow: (
                answers_kept(tmp_path / "gen") >= moment or flow.poll() is not None
            ),
            timeout_s=300,
            what="answers to kill in",
        )
        assert flow.poll() is None, (tmp_path / "flow.log").read_text()[-3000:]
        kills[victim] += 1
        if victim == "flow":
            os.kill(flow.pid, signal.SIGKILL)
            flow.wait()
            stop(flow)
        else:
            vllm.kill()
            time.sleep(2)
            vllm.start()
    if flow is None or flow.poll() is not None:
        flow = background(flow_command("gen", recipe), tmp_path / "flow.log", prefect_env)
    assert flow.wait(600) == 0, (tmp_path / "flow.log").read_text()[-3000:]
    assert kills == {"flow": 3, "server": 3}
    law = check_law(tmp_path / "gen")
    assert law.source == 320
    ids = pl.read_parquet(tmp_path / "gen" / "rows" / "*.parquet")["row_id"]
    assert ids.n_unique() == 320


def answers_kept(build):
    """Replies on disk: lines of the journals, and rows of finished shards."""
    lines = sum(path.read_bytes().count(b"\n") for path in build.glob("journal/*/*.jsonl"))
    rows = sum(json.loads(p.read_text())["rows"] for p in build.glob("*s/*-*.json"))
    return lines + rows


PAIR = ("source_image", "edited_image")


def world_items():
    """Twelve things to score that the judge knows, of every quality."""
    gens = [row for _, row in islice(world_rows("gen", 7), 8)]
    edits = [row for _, row in islice(world_rows("edit", 7), 4)]
    return [gen_item(row.texts["prompt"], row.pictures["image"]) for row in gens] + [
        edit_item(row.texts["instruction"], *(row.pictures[n] for n in PAIR)) for row in edits
    ]


# A batch may change the order in which floats are summed, and so the probabilities a little.
OF_BATCHING = 0.02


def test_kills_of_vllm_under_rewards_make_no_number_up(vllm, tmp_path):
    """kill -9 of vLLM while 16 clients ask: what comes is a known reward, a reason or a 503."""
    items, told, done = world_items(), [], threading.Event()
    judge = {"url": vllm.url, "model": JUDGE}
    rewards = Rewards(tmp_path, vllm, endpoint=judge)

    def client(number):
        dice = random.Random(number)
        while not done.is_set():
            asked = dice.sample(range(len(items)), dice.randint(1, 4))
            status, text = rewards.post({"items": [items[i] for i in asked], "deadline_s": 6})
            told.append((asked, status, json.loads(text)))

    def valid_of(answers):
        scored = [found["items"] for _, status, found in answers if status == 200]
        return sum(one["valid"] for items in scored for one in items)

    try:
        quiet = [one["reward"] for one in score(rewards.url, items, batch=1, at_once=1)]
        assert max(quiet) - min(quiet) > 0.5
        with ThreadPoolExecutor(16) as pool:
            clients = [pool.submit(client, number) for number in range(16)]
            try:
                wait_for(lambda: valid_of(told) >= 100, timeout_s=300, what="answers to kill in")
                try:
                    vllm.kill()
                    begin = len(told)
                    time.sleep(2)
                finally:
                    vllm.start()
                back = len(told)
                again = "answers once it is back"
                wait_for(lambda: valid_of(told[back:]) >= 100, timeout_s=300, what=again)
            finally:
                done.set()
        assert [one.result() for one in clients] == [None] * 16
        for asked, status, found in told:
            if status != 200:
                assert (status, set(found)) == (503, {"error"})
                continue
            for i, one in zip(asked, found["items"], strict=True):
                if one["valid"]:
                    assert one["reward"] == pytest.approx(quiet[i], abs=OF_BATCHING)
                else:
                    assert one["reward"] is None
                    assert one["reason"] in ("judge:down", "deadline")
        assert 503 in {status for _, status, _ in told[begin:back]}
        assert all(one["valid"] for one in score(rewards.url, items))
    finally:
        stop(rewards.process)


def test_rollouts_become_pairs_by_the_labels(vllm, tmp_path, prefect_env):
    """Eight replies of one request for each label, here of the judge in a student's place."""
    labels = world_build(tmp_path / "labels", "edit", 16)
    settings = {"endpoints": {"student": {"url": vllm.url, "model": JUDGE}}}
    settings |= {"rollouts": {"k": 8, "temperature": 1.0}}
    recipe = make_preferences(labels, tmp_path / "pairs", **settings)
    before = vllm.answered()
    done = run(preference_command(recipe, tmp_path / "r.yaml"), prefect_env, timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = manifest_of(tmp_path / "pairs")
    law = manifest["law"]
    assert law["labelled"] == law["paired"] + law["hard"] + law["unpaired"] == 32
    assert sum(manifest["rollouts"].values()) == 8 * 32
    # vLLM counts each reply of a request.
    assert 0 <= vllm.answered() - before - 8 * 32 <= PROBE_REQUESTS
    data = load_dataset("parquet", data_dir=str(tmp_path / "pairs" / "preferences"))
    pairs = [row for split in data.values() for row in split]
    assert len(pairs) == law["pairs"] > 5
    for row in pairs:
        chosen, rejected = (json.loads(row[side][0]["content"]) for side in ("chosen", "rejected"))
        assert chosen["score"] == row["label_score"] != rejected["score"]
        assert len(row["images"]) == 2
        assert row["chosen_model"] == row["rejected_model"] == JUDGE


def test_the_demo_runs_and_a_second_run_asks_nothing_and_starts_no_server(tmp_path, prefect_env):
    env = {k: v for k, v in prefect_env.items() if k != "PREFECT_API_URL"}
    for name in ("foundry", "examples", ".venv-vllm"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [PYTHON, "-m", "flows.demo"]
    first = run(command, env, cwd=tmp_path, timeout_s=600)
    assert first.returncode == 0, first.stdout + first.stderr
    for text in ("scored rightly", "build law:", "builds/demo-gen", "score"):
        assert text in first.stdout
    logs = {p: p.stat().st_mtime_ns for p in tmp_path.glob("builds/*/logs/*.log")}
    assert logs
    second = run(command, env, cwd=tmp_path, timeout_s=200)
    assert second.returncode == 0, second.stdout + second.stderr
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("builds/*/logs/*.log")} == logs
    assert "starting a server" not in second.stderr
    for kind in ("gen", "edit"):
        assert manifest_of(tmp_path / "builds" / f"demo-{kind}")["requests"] == {}


def test_the_bundled_judge_lists_what_differs_and_scores_near_the_truth(vllm, tmp_path):
    """Bounds well under its figures (docs/proof/shapebench.md), which a judge falls through that no
    longer understands a prompt or a schema. Score-only prompts, rewriting and the comparing of
    rationales are not asked.
    """
    assert shapebench(judge=Judge(model=JUDGE, endpoint=vllm.url), rows=160, out=tmp_path) == 0
    found = json.loads((tmp_path / "shapebench-160.json").read_text())
    constant = {c["axis"]: c["mae"][1] for c in found["constants"]}
    for scores in found["scores"]:
        assert scores["rejected"] <= 0.02, scores
        if scores["axis"] == "consistency":
            assert scores["mae"][0] <= 0.5 * constant["consistency"], scores
        if scores["axis"] == "gen":
            assert scores["mae"][0] <= 0.7 * constant["gen"], scores
        if scores["axis"] == "execution":
            assert scores["mae"][0] <= 0.85 * constant["execution"], scores
    for listed in found["lists"]:
        assert listed["f1"][0] >= 0.7, listed
    assert found["verdicts"]["macro_f1"][0] >= 0.5
