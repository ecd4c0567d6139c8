"""LoRA, its merge, and DPO on top of it, on real TRL: some steps of the tiny student."""

import json
import os
import signal

import numpy as np
import pytest
from real_servers import background, run, wait_for
from training_cases import (
    BASE,
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
SHORT = ["batch=8", "device_batch=8", "log_every_steps=1"]


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    """A LoRA training with its merged model."""
    folder = tmp_path_factory.mktemp("lora")
    data = [world_build(folder / "gen", "gen", 16)]
    more = ["lora={rank: 4, alpha: 64}", "steps=3", "learning_rate=0.02"]
    more += ["evaluation={rows: 4, batch: 4, max_new_tokens: 16}"]
    done = run(command_of("sft", folder / "out", data, *SHORT, *more), env=training_env())
    assert done.returncode == 0, done.stderr
    merged = run([TRAIN_PYTHON, "-m", "trainers.merge", str(folder / "out")], env=training_env())
    assert merged.returncode == 0, merged.stderr
    return folder / "out"


def test_lora_writes_an_adapter_with_a_card(lora):
    names = {path.name for path in (lora / "adapter").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "README.md"} <= names
    assert json.loads((lora / "adapter" / "adapter_config.json").read_text())["r"] == 4
    card = (lora / "adapter" / "README.md").read_text()
    assert "library_name: peft" in card
    assert "| score | 4 | " in card


def test_lora_is_measured_by_generating_before_and_after(lora):
    measured = [line for line in log_of(lora) if "eval_score_rows" in line]
    assert [(line["step"], line["eval_score_rows"]) for line in measured] == [(0, 4), (3, 4)]


def test_the_merged_model_differs_in_the_linear_layers_of_the_language_model_alone(lora):
    assert {p.name for p in (lora / "model").iterdir()} == {p.name for p in BASE.iterdir()}
    before, after = tensors(BASE), tensors(lora / "model")
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    wanted = {n for n in before if ".language_model." in n and n.endswith("_proj.weight")}
    assert changed == wanted
    assert "library_name: transformers" in (lora / "model" / "README.md").read_text()


def test_a_merge_without_an_adapter_or_over_a_model_is_refused(lora, tmp_path):
    for folder, told in ((tmp_path, "no adapter/ here"), (lora, "is there already")):
        done = run([TRAIN_PYTHON, "-m", "trainers.merge", str(folder)], env=training_env())
        assert done.returncode == 2
        assert told in done.stderr


def changed_share(before, after):
    """How many of all bfloat16 weights differ."""
    both = [(np.frombuffer(before[n], "<u2"), np.frombuffer(after[n], "<u2")) for n in before]
    return sum((a != b).sum() for a, b in both) / sum(a.size for a, _ in both)


@pytest.fixture(scope="module")
def dpo(lora, tmp_path_factory):
    """Two runs of one recipe side by side, the second cut short after some steps, then gone on."""
    folder = tmp_path_factory.mktemp("dpo")
    pairs = [pair_build(folder / kind, kind, 12) for kind in ("edit", "gen")]
    more = [f"model={lora / 'model'}", "steps=6", "learning_rate=0.0005"]
    more += ["evaluation={every_steps: 3, rows: 6, batch: 6, max_new_tokens: 24}"]
    whole, cut = folder / "whole", folder / "cut"
    before = tensors(lora / "model")
    processes = [
        background(
            command_of("dpo", output, pairs, *SHORT, *more),
            output.with_suffix(".log"),
            env=training_env(),
        )
        for output in (whole, cut)
    ]
    wait_for(lambda: 2 in losses(cut), timeout_s=240, what="the second step")
    os.killpg(processes[1].pid, signal.SIGTERM)
    found = [process.wait(240) for process in processes]
    assert found == [0, 143], [path.read_text() for path in folder.glob("*.log")]
    assert max(losses(cut)) < 6
    # How often it saves may change, and counts from there on.
    more += ["save_every_steps=1", "keep_checkpoints=9"]
    again = run(command_of("dpo", cut, pairs, *SHORT, *more), env=training_env())
    assert again.returncode == 0, again.stderr
    assert tensors(lora / "model") == before
    return {"whole": whole, "cut": cut}


def test_dpo_widens_the_margin_and_tells_how_much_of_the_weights_changed(lora, dpo):
    output = dpo["whole"]
    margins = {
        line["step"]: line["eval_rewards/margins"]
        for line in log_of(output)
        if "eval_rewards/margins" in line
    }
    assert list(margins) == [0, 3, 6]
    assert margins[0] == pytest.approx(0, abs=1e-4)
    assert margins[6] > max(margins[3], 0.05)
    result = next(line for line in log_of(output) if "result_score_rows" in line)
    assert result["result_score_rows"] == 6
    assert "result_score_only_rows" not in result
    changed = changed_share(tensors(lora / "model"), tensors(output / "model"))
    assert result["result_changed_share"] == pytest.approx(changed, abs=1e-6)
    assert 0.05 < result["result_changed_share"] < 1
    card = (output / "model" / "README.md").read_text()
    assert "reward margin" in card
    assert "`judge_edit.v1`" in card
    assert "judge_edit_score_only" not in card


def test_dpo_that_was_cut_short_goes_on_with_the_same_losses_to_the_same_weights(dpo):
    whole, cut = dpo["whole"], dpo["cut"]
    assert list(losses(cut)) == list(range(1, 7))
    assert losses(cut) == losses(whole)
    assert tensors(cut / "model") == tensors(whole / "model")
    saved = {path.name for path in (cut / "checkpoints").iterdir()}
    assert {"checkpoint-5", "checkpoint-6"} <= saved
