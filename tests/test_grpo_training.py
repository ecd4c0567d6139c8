"""The GRPO example: its policy and its training, by the real trainer."""

import json
import os

import pytest
from real_servers import ROOT, run
from training_cases import TRAIN_PYTHON, needs_trainers

from examples.grpo_shapeworld.prompts import MEASURED
from examples.grpo_shapeworld.scene_text import MOST_WORDS

READ_BY_THE_POLICY = """
import json, sys
from itertools import islice
from examples.grpo_shapeworld.policy import as_asked, as_batch, make_tokenizer
from examples.grpo_shapeworld.prompts import TASKS, grpo_prompts, measured, warm_examples
found = {}
for name, task in TASKS.items():
    examples = list(islice(warm_examples(task), 2100))
    tokenizer = make_tokenizer(examples[:2000])
    asked = [*measured(task), *islice(grpo_prompts(task, 0), 300)]
    ids = [tokenizer(as_asked(one.text))["input_ids"] for one in asked]
    batch = as_batch(tokenizer, examples[-100:])
    kept = [[i for i in row if i != -100] for row in batch["labels"].tolist()]
    found[name] = {
        "unknown": sum(tokenizer.pad_token_id in one for one in ids),
        "ends": {tokenizer.convert_ids_to_tokens(one[-1]) for one in ids} == {"<start>"},
        "texts": tokenizer.batch_decode(kept),
        "wanted": [f"{text} {tokenizer.eos_token}" for _, text in examples[-100:]],
        "lengths": batch["attention_mask"].sum(1).tolist(),
        "ends_at": [row.index(tokenizer.eos_token_id) for row in batch["input_ids"].tolist()],
        "longest": max(map(len, ids)),
    }
print(json.dumps(found))
"""


@pytest.mark.train
@needs_trainers
def test_the_policy_knows_every_word_and_learns_the_scene_and_its_end_alone():
    done = run([TRAIN_PYTHON, "-c", READ_BY_THE_POLICY], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for name, found in json.loads(done.stdout.splitlines()[-1]).items():
        assert (name, found["unknown"], found["ends"]) == (name, 0, True)
        assert found["texts"] == found["wanted"]
        assert found["lengths"] == [end + 1 for end in found["ends_at"]]
        assert found["longest"] + MOST_WORDS + 1 <= 256


@pytest.mark.train
@pytest.mark.slow
@needs_trainers
def test_a_policy_is_trained_on_the_exact_truth_once(tmp_path):
    words = ["--task", "gen", "--truth", "--formula", "alignment", "--out", str(tmp_path / "run")]
    words += ["--warm-steps", "2", "--steps", "2"]
    command = [TRAIN_PYTHON, "-m", "examples.grpo_shapeworld.train", *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = run(command, cwd=ROOT, env=env, timeout_s=900)
    assert done.returncode == 0, done.stderr
    result = tmp_path / "run" / "result.json"
    found = json.loads(result.read_text())
    assert [len(found[when]) for when in ("before", "after")] == [MEASURED, MEASURED]
    assert [line["step"] for line in found["log"]] == [1, 2]
    assert {"reward", "scenes", "unscored", "true_score", "kl"} <= found["log"][0].keys()
    again = run(command, cwd=ROOT, env=env)
    assert again.stdout.endswith("run: finished\n")
    # Cut off before its result was written, and while a later checkpoint was.
    result.unlink()
    (tmp_path / "run" / "checkpoints" / "checkpoint-9").mkdir()
    done = run(command, cwd=ROOT, env=env, timeout_s=900)
    assert done.returncode == 0, done.stderr
    once_more = json.loads(result.read_text())
    assert once_more["seconds"] > found["seconds"] > 0
    assert {**once_more, "seconds": 0} == {**found, "seconds": 0}


A_LINE = """
from types import SimpleNamespace
from examples.grpo_shapeworld.train import Lines
state = SimpleNamespace(global_step=10, max_steps=20)
logs = {"reward": None, "true_score": 2.5, "scenes": 1.0, "unscored": 1.0}
Lines(lambda: 7.0).on_log(None, state, None, logs)
"""


@pytest.mark.train
@needs_trainers
def test_a_step_of_which_nothing_was_scored_has_no_reward_in_its_line():
    done = run([TRAIN_PYTHON, "-c", A_LINE], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    line = "step 10 of 20, 7 s: true_score 2.500, scenes 1.000, unscored 1.000"
    assert done.stdout.splitlines()[-1] == line
