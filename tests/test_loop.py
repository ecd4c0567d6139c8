"""The loop on ShapeWorld: what its commands are."""

import json
import sys
from pathlib import Path

import pytest
from flow_cases import edit_source, flow_command, write_recipe
from real_servers import ROOT, run
from stub_process import stub_process

from flows import loop
from flows.loop import BASE, FULL, JUDGE, QUICK, _found, seed_steps
from flows.steps import LOG
from foundry.evals.loop_measures import MEASURES, bench_folder
from foundry.shapeworld.rows import FIRST_RESERVED_SEED
from pipelines.dataset_reading import open_dataset
from pipelines.law import check_law
from pipelines.preferences.recipe import PreferenceRecipe
from pipelines.recipe import EditRecipe, GenRecipe
from pipelines.recipe_files import load_recipe, parse_settings
from trainers.settings import DpoRecipe, SftRecipe

GATES = ("leak", "degenerate", "contradiction", "agreement", "grounding", "duplicate",
         "contamination")  # fmt: skip
RECIPE_OF = {
    "flows.build_firm_edit": EditRecipe,
    "flows.build_firm_gen": GenRecipe,
    "flows.build_firm_preferences": PreferenceRecipe,
    "trainers.sft": SftRecipe,
    "trainers.dpo": DpoRecipe,
}


def recipes(steps):
    """By step, the recipe that its command loads."""
    found = {}
    for one in steps:
        words = list(one.command)
        module = words[2] if words[1] == "-m" else None
        if module in RECIPE_OF:
            settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
            path = next(word for word in words if word.endswith(".yaml"))
            found[one.name] = load_recipe(ROOT / path, RECIPE_OF[module], parse_settings(settings))
    return found


@pytest.mark.parametrize("size", [QUICK, FULL], ids=["quick", "full"])
def test_every_command_of_the_loop_has_a_recipe_that_is_accepted(size):
    steps = seed_steps(2, Path("builds/x/seed-2"), size, judge="j", base="b")
    assert len({one.name for one in steps}) == len(steps)
    found = recipes(steps)
    assert found["labels-gen"].endpoints.planner[0].launch.model == "j"
    assert found["labels-edit"].sources[0].path == "builds/x/seed-2/world-edit/rows.jsonl"
    assert (found["sft"].model, found["sft-raw"].model) == ("b", "b")
    assert found["dpo"].model == "builds/x/seed-2/sft/model"
    # What is compared is learnt alike, but for the rows.
    same = found["sft"].model_dump(exclude={"data", "output"})
    assert found["sft-raw"].model_dump(exclude={"data", "output"}) == same
    assert not found["raw-edit"].balance.targets
    assert found["labels-edit"].balance.targets
    for kind in ("edit", "gen"):
        raw, gated = (found[f"{what}-{kind}"].gates for what in ("raw", "labels"))
        assert not any(raw.is_on(gate) for gate in GATES)
        assert sum(gated.is_on(gate) for gate in GATES) >= 5


def test_the_truth_is_in_no_command_and_worlds_to_learn_from_are_not_those_that_measure():
    worlds = set()
    for seed in (0, 1):
        for one in seed_steps(seed, Path("x"), QUICK, judge="j", base="b"):
            assert "truth" not in " ".join(one.command)
            if one.name.startswith("draw"):
                worlds.add(int(one.command[one.command.index("--seed") + 1]))
    assert len(worlds) == 2
    # 1 is what the judge itself was trained on.
    assert not worlds & {1}
    assert max(worlds) < FIRST_RESERVED_SEED


@pytest.mark.prefect
def test_raw_labels_are_the_same_answers_and_nothing_is_asked_for_them(tmp_path, prefect_env):
    with stub_process() as stub:
        source = edit_source(tmp_path / "world-edit", pairs=5, instructions=2)
        more = {"gates": {}, "balance": {"targets": {"execution": "uniform"}, "least_kept": 0.0}}
        recipe = tmp_path / "edit.yaml"
        write_recipe(recipe, "edit", stub.url, tmp_path / "labels-edit", source, **more)
        done = run(flow_command("edit", recipe), prefect_env)
        assert done.returncode == 0, done.stdout + done.stderr
        before = stub.log()["arrived"]
        steps = seed_steps(0, tmp_path, QUICK, judge="j", base="b")
        copy, raw = (one for one in steps if one.name in ("copy-edit", "raw-edit"))
        # Twice, as after a kill in its midst.
        for _ in range(2):
            assert run(list(copy.command)).returncode == 0
        words = [word for word in raw.command if word.startswith(("gates=", "balance=", "output="))]
        settings = [word for one in words for word in ("--set", one)]
        done = run([*flow_command("edit", recipe), *settings], prefect_env)
        assert done.returncode == 0, done.stdout + done.stderr
        # Not even a probe.
        assert stub.log()["arrived"] == before
    some = next(one for one in steps if one.name == "some-edit")
    for _ in range(2):
        assert run(list(some.command)).returncode == 0
    assert list(open_dataset(tmp_path / "some-edit").splits) == ["train"]
    assert "20 source = 20 dataset + 0 rejected + 0 duplicates" in done.stdout
    kept = check_law(tmp_path / "labels-edit")
    assert 0 < kept.dataset < 20


@pytest.mark.parametrize("role", ["judge", "base"])
def test_a_model_that_is_not_there_is_told_before_anything_runs(
    tmp_path, monkeypatch, capsys, role
):
    for name in ("PYTHON", "TRAIN_PYTHON", "VLLM_PYTHON"):
        monkeypatch.setattr(loop, name, sys.executable)
    assert loop.main(out=tmp_path / "loop", **{role: "no/such"}) == 2
    assert f"--{role} no/such: no folder with a model's weights" in capsys.readouterr().err
    assert not (tmp_path / "loop").exists()


def test_the_base_is_measured_once_for_all_seeds():
    names = [
        {one.name for one in seed_steps(s, Path(f"x/seed-{s}"), QUICK, judge="j", base="b")}
        for s in (0, 1)
    ]
    assert names[0] - names[1] == {"bench-base"}
    assert bench_folder(Path("x/seed-1"), "base") == bench_folder(Path("x/seed-0"), "base")


def test_of_a_seed_that_is_done_measures_and_steps_are_enough(tmp_path):
    folder = tmp_path / "seed-0"
    folder.mkdir()
    (folder / MEASURES).write_text('{"models": {"sft": {}}}')
    steps = [{"step": "sft", "began": "x"}, {"step": "sft", "ended": "y", "took_s": 3.0}]
    (folder / LOG).write_text("".join(json.dumps(one) + "\n" for one in steps))
    found = _found([folder], QUICK, full=False, judge=JUDGE, base=BASE)
    took = {"sft": {"took_s": 3.0, "cut": 0}}
    assert found["seeds"] == [{"models": {"sft": {}}, "steps": took}]
