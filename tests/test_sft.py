"""The SFT trainer, on real TRL: runs of some steps of the tiny student on ShapeWorld rows."""

import json
import os
import re
import signal
import sys

import pyarrow.parquet as pq
import pytest
from real_servers import ROOT, background, run, stop, wait_for
from training_cases import (
    TRAIN_PYTHON,
    command_of,
    log_of,
    losses,
    needs_trainers,
    tensors,
    training_env,
    world_build,
)

from foundry.rewards.client import edit_item, gen_item, score

pytestmark = [
    pytest.mark.train,
    needs_trainers,
]
# A model that answers in the form, so that there are scores to compare.
BASE = ROOT / "foundry/shapeworld/judge"
PAIR = ("source_image", "edited_image")
SHORT = [f"model={BASE}", "workers=1", "batch=8", "device_batch=4", "steps=8"]
SHORT += ["log_every_steps=1", "freeze_vision=true", "save_every_steps=6"]
SHORT += ["evaluation={every_steps: 4, rows: 4, batch: 4, max_new_tokens: 64}"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return [world_build(folder / kind, kind, 16) for kind in ("edit", "gen")]


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Two runs of one recipe side by side, the second cut short after some steps."""
    folder = tmp_path_factory.mktemp("runs")
    names = ("whole", "cut")
    processes = [
        background(
            command_of("sft", folder / name, data, *SHORT),
            folder / f"{name}.log",
            env=training_env(),
        )
        for name in names
    ]
    cut = folder / "cut"
    wait_for(lambda: 2 in losses(cut), timeout_s=240, what="the second step")
    # To the workers that read rows as well, as a launcher of several processes does it.
    os.killpg(processes[1].pid, signal.SIGTERM)
    found = [process.wait(240) for process in processes]
    said = {name: (folder / f"{name}.log").read_text() for name in names}
    assert found[0] == 0, said["whole"]
    return {"folder": folder, "status": found[1], "said": said, "steps_of_cut": list(losses(cut))}


def test_a_run_ends_with_the_files_that_vllm_loads_and_a_card(runs):
    model = runs["folder"] / "whole" / "model"
    assert {path.name for path in model.iterdir()} == {path.name for path in BASE.iterdir()}
    config, base = (json.loads((f / "config.json").read_text()) for f in (model, BASE))
    assert config["architectures"] == base["architectures"]
    assert config["dtype"] == base["dtype"]
    card = (model / "README.md").read_text()
    assert "`judge_edit_score_only.v1`" in card
    assert "freeze_vision: true" in card


def test_what_should_move_moves_and_what_is_frozen_does_not(runs):
    # A checkpoint has float32, of which the bfloat16 of the base is the upper half.
    checkpoint = runs["folder"] / "whole" / "checkpoints" / "checkpoint-8"
    after = tensors(checkpoint)
    before = {name: _as_float32(data) for name, data in tensors(BASE).items()}
    assert before.keys() == after.keys()
    vision = {name for name in before if ".visual." in name}
    assert len(vision) > 20
    assert {name for name in vision if before[name] != after[name]} == set()
    assert {name for name in before.keys() - vision if before[name] == after[name]} == set()


def _as_float32(data):
    return b"".join(b"\0\0" + data[i : i + 2] for i in range(0, len(data), 2))


def test_scores_are_measured_before_and_after_and_of_what_was_written(runs):
    log = log_of(runs["folder"] / "whole")
    measured = [line["step"] for line in log if "eval_score_rows" in line]
    assert measured == [0, 4, 8]
    assert [line["step"] for line in log if "result_score_rows" in line] == [8]
    for line in log:
        for kind in ("eval", "result"):
            if f"{kind}_score_rows" in line:
                assert line[f"{kind}_score_rows"] == 4
                read = 4 - line[f"{kind}_score_unread"]
                assert (line[f"{kind}_score_mae"] is None) == (read == 0)


def test_sigterm_saves_a_checkpoint_and_says_how_to_go_on(runs):
    assert runs["status"] == 143
    last = runs["said"]["cut"].splitlines()[-1]
    assert last.startswith("stopped by SIGTERM, with a checkpoint in")
    assert last.endswith("the same command goes on")
    assert 2 <= max(runs["steps_of_cut"]) < 8
    step = max(runs["steps_of_cut"])
    cut = runs["folder"] / "cut"
    assert (cut / "checkpoints" / f"checkpoint-{step}" / "trainer_state.json").exists()
    assert not (cut / "model").exists()


def test_a_resumed_run_has_the_same_losses_and_the_same_weights(runs, data):
    whole, cut = runs["folder"] / "whole", runs["folder"] / "cut"
    done = run(command_of("sft", cut, data, *SHORT), env=training_env())
    assert done.returncode == 0, done.stderr
    assert list(losses(cut)) == list(range(1, 9))
    assert losses(cut) == losses(whole)
    assert tensors(cut / "model") == tensors(whole / "model")


def test_a_run_that_was_killed_while_it_wrote_its_result_writes_it_and_trains_no_more(runs, data):
    whole = runs["folder"] / "whole"
    before, log = tensors(whole / "model"), log_of(whole)
    (whole / "model").rename(whole / ".result.part")
    done = run(command_of("sft", whole, data, *SHORT), env=training_env())
    assert done.returncode == 0, done.stderr
    assert tensors(whole / "model") == before
    assert _without_times(log_of(whole)) == _without_times(log)
    again = run(command_of("sft", whole, data, *SHORT), env=training_env())
    assert again.returncode == 0
    assert "this training is finished" in again.stdout
    assert _without_times(log_of(whole)) == _without_times(log)
    other = run(command_of("sft", whole, data, *SHORT, "learning_rate=0.5"), env=training_env())
    assert other.returncode == 2
    assert "began with learning_rate" in other.stderr


def _without_times(log):
    return [{name: value for name, value in line.items() if name != "time"} for line in log]


INSIDE = """
import json, sys
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor
from trainers.collation import PictureTokensWrong
from trainers.rows import open_rows
from trainers.scoring import ScoreCallback, rows_to_measure
from trainers.settings import Evaluation
from trainers.sft import make_collator
folders, model_folder = json.loads(sys.argv[1]), sys.argv[2]
rows = open_rows(folders, score_only_share=0.2, seed=0)
processor = AutoProcessor.from_pretrained(model_folder)
collator = make_collator(processor)
train = rows.splits["train"]
found = {"pairs": []}
for start in (0, 8, len(train) - 8):
    examples = [train[i] for i in range(start, start + 8)]
    replies = [e["completion"][0]["content"] for e in examples]
    batch = collator(examples)
    for labels, reply in zip(batch["labels"], replies):
        found["pairs"].append([processor.tokenizer.decode(labels[labels != -100]), reply])
    same = (batch["labels"] == batch["input_ids"]) | (batch["labels"] == -100)
    found["labels_are_inputs"] = bool(same.all())
def refused(examples):
    try:
        collator(examples)
    except PictureTokensWrong as error:
        return str(error)
broken = train[0]
found["row_id"] = broken["row_id"]
broken["prompt"][1]["content"] += "<|image_pad|>"
found["one_too_many"] = refused([train[1], broken])
template = processor.chat_template
processor.chat_template = template.replace("<|image_pad|>", "")
found["none"] = refused([train[0], train[1]])
processor.chat_template = template
model = AutoModelForImageTextToText.from_pretrained(model_folder, dtype=torch.bfloat16)
validation = rows.splits["validation"]
validation = validation.select(rows_to_measure(validation, 4))
settings = Evaluation(rows=4, batch=4, max_new_tokens=64)
scores = ScoreCallback(rows.ask, validation.with_format(None).to_list(), settings=settings)
found["measured"] = scores.measure(model, processor, shared=False)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def inside(runs, data):
    """What is seen from inside the trainers' environment."""
    model = str(runs["folder"] / "whole" / "model")
    folders = json.dumps([str(folder) for folder in data])
    done = run([TRAIN_PYTHON, "-c", INSIDE, folders, model], env=training_env())
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_loss_is_on_the_reply_alone(inside):
    assert inside["labels_are_inputs"]
    assert len(inside["pairs"]) == 24
    for learnt, reply in inside["pairs"]:
        assert learnt == f"{reply}<|im_end|>\n"


def test_a_row_with_another_number_of_picture_tokens_is_refused_by_its_id(inside):
    row = f"row {inside['row_id']}: "
    assert inside["one_too_many"].startswith(row + "the processor cannot place its pictures")
    assert inside["none"].startswith(row + "0 picture tokens in its text, its pictures make 72")


def test_a_reloaded_model_scores_the_same(inside, runs):
    log = log_of(runs["folder"] / "whole")
    result = next(line for line in log if "result_score_rows" in line)
    assert result["result_score_unread"] < result["result_score_rows"]
    assert result["result_score_mae"] is not None
    for name, value in inside["measured"].items():
        assert result[f"result_{name}"] == value, name


@pytest.mark.slow
def test_the_reward_server_scores_with_it_on_real_vllm_straight_away(runs, data, tmp_path):
    model = runs["folder"] / "whole" / "model"
    config, log = tmp_path / "reward.yaml", tmp_path / "log"
    config.write_text(json.dumps({"endpoint": {"launch": {"model": str(model)}}, "port": 0}))
    command = [sys.executable, "-m", "foundry.rewards.serve", "--config", str(config)]
    server = background(command, log, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        wait_for(lambda: "rewards at" in log.read_text(), timeout_s=300, what="the reward server")
        url = re.search(r"rewards at (\S+), mode", log.read_text())[1]
        edit, gen = (next(dataset_rows_with_pictures(folder)) for folder in data)
        answers = score(
            url,
            [
                edit_item(edit["instruction"], *(edit[n]["bytes"] for n in PAIR)),
                gen_item(gen["prompt"], gen["image"]["bytes"]),
            ],
        )
    finally:
        stop(server)
    assert [one["valid"] for one in answers] == [True, True], answers
    assert all(0 <= one["reward"] <= 1 for one in answers)


def dataset_rows_with_pictures(build):
    for path in sorted((build / "dataset").glob("*.parquet")):
        yield from pq.read_table(path).to_pylist()


PATCHES = """
import json, sys
import torch
from trainers.models import load_model
from trainers.settings import SftRecipe
recipe = SftRecipe(model=sys.argv[1], data=["d"], output="o", precision="float32")
embed = load_model(recipe).model.visual.patch_embed
pixels = torch.randn(72, embed.proj.weight[0].numel(), generator=torch.Generator().manual_seed(0))
def of(forward):
    embed.zero_grad()
    seen = forward(pixels)
    seen.square().sum().backward()
    return seen, embed.proj.weight.grad, embed.proj.bias.grad
ours, library = of(embed.forward), of(lambda x: type(embed).forward(embed, x))
far = max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, library))
print(json.dumps({"is_ours": embed.forward.__func__.__module__, "far": far}))
"""


def test_patches_are_embedded_by_one_product_to_the_same_values_and_gradients():
    done = run([TRAIN_PYTHON, "-c", PATCHES, str(BASE)], env=training_env())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["is_ours"] == "foundry.patches"
    assert found["far"] < 1e-5
