"""FSDP as on several GPUs, here on two processes of a CPU: the tiny student, some steps."""

import math
import os
import signal
from itertools import pairwise

import numpy as np
import pytest
import yaml
from real_servers import ROOT, background, run, wait_for
from training_cases import (
    TRAIN_PYTHON,
    command_of,
    log_of,
    losses,
    needs_trainers,
    pair_build,
    tensors,
    training_env,
    world_build,
)

pytestmark = [
    pytest.mark.train,
    needs_trainers,
]
# A model that answers in the form, so that there are scores to compare.
BASE = ROOT / "foundry/shapeworld/judge"
CONFIGS = sorted((ROOT / "trainers/launch").glob("*.yaml"))
# Two processes have two rows at a time and add gradients up, one has all eight. Three rows to
# measure are more replies for one process than for the other.
SHORT = [f"model={BASE}", "batch=8", "steps=6", "log_every_steps=1", "save_every_steps=10"]
SHORT += ["evaluation={rows: 3, batch: 1, max_new_tokens: 64}"]
SHARED = [*SHORT, "device_batch=2", "gradient_checkpointing=true"]


def launched(trainer, output, data, *settings):
    """The command of a training that two processes share."""
    launcher = [TRAIN_PYTHON, "-m", "accelerate.commands.launch", "--config_file"]
    launcher += ["trainers/launch/fsdp_cpu.yaml"]
    return launcher + command_of(trainer, output, data, *settings)[1:]


def test_the_configs_for_gpus_share_weights_out_as_the_tested_one_does():
    configs = {path.stem: yaml.safe_load(path.read_text()) for path in CONFIGS}
    tested = configs.pop("fsdp_cpu")
    assert {name: one["num_processes"] for name, one in configs.items()} == {
        "fsdp_8_gpus": 8,
        "fsdp_2_nodes": 16,
    }
    for config in configs.values():
        assert config["fsdp_config"] == tested["fsdp_config"]
        assert config["distributed_type"] == tested["distributed_type"] == "FSDP"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return [world_build(folder / kind, kind, 16) for kind in ("edit", "gen")]


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """One process, and two that are stopped after some steps and started again."""
    folder = tmp_path_factory.mktemp("runs")
    one, two = folder / "one", folder / "two"
    alone = background(
        command_of("sft", one, data, *SHORT, "device_batch=8"), folder / "one.log", training_env()
    )
    shared = background(launched("sft", two, data, *SHARED), folder / "two.log", training_env())
    wait_for(lambda: 2 in losses(two), timeout_s=240, what="the second step")
    os.killpg(shared.pid, signal.SIGTERM)
    status = shared.wait(240)
    assert alone.wait(240) == 0, (folder / "one.log").read_text()
    cut = {
        "status": status,
        "said": (folder / "two.log").read_text(),
        "steps": list(losses(two)),
        "checkpoints": {
            path.name: {file.relative_to(path).as_posix() for file in path.rglob("*")}
            for path in (two / "checkpoints").glob("checkpoint-*")
        },
        "model": (two / "model").exists(),
    }
    other = run(command_of("sft", two, data, *SHARED), env=training_env())
    again = run(launched("sft", two, data, *SHARED), env=training_env())
    assert again.returncode == 0, again.stderr
    return {"one": one, "two": two, "cut": cut, "other": other}


def test_two_processes_learn_what_one_does_from_the_same_rows(runs):
    alone, shared = (
        [line for line in log_of(runs[name]) if "loss" in line] for name in ("one", "two")
    )
    assert [line["step"] for line in shared] == list(range(1, 7))
    for one, two in zip(alone, shared, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-3)
    assert _tokens(shared) == _tokens(alone)


def _tokens(lines):
    """Tokens of each step; their count begins again where a run goes on."""
    counts = [0, *(line["num_tokens"] for line in lines)]
    return [now - was if now > was else now for was, now in pairwise(counts)]


def test_sigterm_to_all_processes_leaves_a_checkpoint_of_which_each_wrote_its_part(runs):
    cut = runs["cut"]
    assert cut["status"] != 0
    assert "stopped by SIGTERM, with a checkpoint in" in cut["said"]
    assert "terminate called" not in cut["said"]
    assert 2 <= max(cut["steps"]) < 6
    assert not cut["model"]
    files = cut["checkpoints"][f"checkpoint-{max(cut['steps'])}"]
    for part in ("pytorch_model_fsdp_0", "optimizer_0"):
        assert {f"{part}/__0_0.distcp", f"{part}/__1_0.distcp"} <= files
    assert not any(file.endswith(".safetensors") for file in files)


def test_what_began_with_fsdp_does_not_go_on_without_it(runs):
    assert runs["other"].returncode == 2
    assert "the run began with FSDP; start it as it began" in runs["other"].stderr


def test_the_result_is_one_whole_model_like_that_of_one_process(runs):
    found = {path.name for path in (runs["two"] / "model").iterdir()}
    assert found == {path.name for path in BASE.iterdir()}
    before = tensors(BASE)
    one, two = tensors(runs["one"] / "model"), tensors(runs["two"] / "model")
    assert before.keys() == one.keys() == two.keys()
    changed = {name for name, data in two.items() if data != before[name]}
    assert {name for name in before if name.endswith("_proj.weight")} <= changed
    for name, data in two.items():
        expected = _from_bfloat16(one[name])
        np.testing.assert_allclose(_from_bfloat16(data), expected, rtol=0.01, atol=5e-4)


def _from_bfloat16(data):
    return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")


def test_scores_are_those_that_one_process_measures(runs):
    alone, shared = (_scores(log_of(runs[name])) for name in ("one", "two"))
    assert [line["step"] for line in shared] == [0, 6, 6]
    assert shared == alone
    assert shared[0]["eval_score_rows"] == 3
    assert shared[0]["eval_score_unread"] < 3


def _scores(log):
    """The measured scores of each step, those of the written model last."""
    kept = ("eval_score", "result_score")
    found = [{n: v for n, v in line.items() if n == "step" or n.startswith(kept)} for line in log]
    return [line for line in found if len(line) > 1]


def test_dpo_begins_at_the_model_that_it_must_not_stray_from(tmp_path):
    data = [pair_build(tmp_path / "pairs", "gen", 8)]
    settings = [f"model={BASE}", "batch=4", "device_batch=1", "steps=1", "log_every_steps=1"]
    output = tmp_path / "out"
    command = launched("dpo", output, data, *settings, "evaluation.rows=0")
    done = run(command, env=training_env())
    assert done.returncode == 0, done.stderr
    first = log_of(output)[0]
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)


REFUSED = """
import os
from pipelines.recipe_files import RecipeRefused
from trainers.settings import SftRecipe
from trainers.sharding import start_processes
recipe = SftRecipe(model="x", data="x", output="x", lora={"rank": 4}, precision="float32")
for version in ("1", "2"):
    os.environ["FSDP_VERSION"] = version
    try:
        start_processes(recipe)
    except RecipeRefused as error:
        print(error)
"""


def test_what_fsdp_cannot_train_is_refused():
    env = {**training_env(), "ACCELERATE_USE_FSDP": "true"}
    done = run([TRAIN_PYTHON, "-c", REFUSED], env=env)
    version, lora = done.stdout.splitlines()
    assert "set fsdp_version: 2" in version
    assert lora.startswith("lora: weights that stay as they are need no FSDP")
