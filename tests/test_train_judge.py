"""Training the bundled judge, for a few steps, in the environment that has torch."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from real_servers import ROOT, VLLM_PYTHON, with_torch

from foundry.shapeworld import train_judge
from foundry.shapeworld.train_judge import main

TINY = """
import sys
from pathlib import Path
from foundry.shapeworld import judge_evaluation, judge_training as t
from foundry.shapeworld.judge_model import Size
from foundry.shapeworld.judge_plan import Plan
# Nobody has taught it yet to end a reply.
judge_evaluation._LONGEST_REPLY = 8
size = Size(
    text_layers=2, text_width=64, text_inner=64, vision_layers=1, vision_width=64, vision_inner=64
)
plan = Plan(
    look_steps=16, base_steps=16, judge_steps=16, batch=8, warmup=2, evaluations=3,
    evaluation_groups=1, size=size,
)
t._SAVE_EVERY = 4
t._SAMPLE_LESSONS = 256
t._SAY_EVERY = 1
t.train(Path(sys.argv[1]), plan, lambda text: print(text, flush=True), command="a test")
"""


def start(folder):
    return subprocess.Popen(
        [VLLM_PYTHON, "-c", TINY, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


READ = """
import json
from foundry.shapeworld import judge_tokenizer as words
from foundry.shapeworld.judge_packs import encode
from foundry.shapeworld.judge_model import SMALL, TOKENS_A_PICTURE, count_parameters, new_model
from foundry.shapeworld.mixture import every_lesson
from foundry.shapeworld.judge_training import _new_processor
lessons = every_lesson(3, 60, phase="judge")
processor = _new_processor(lessons)
tokenizer = processor.tokenizer
same, lengths = [], []
for lesson in lessons:
    before, reply = encode(lesson, tokenizer)
    lengths.append(len(before) - TOKENS_A_PICTURE * len(lesson.pictures))
    content = [{"type": "image"}] * len(lesson.pictures) + [{"type": "text", "text": lesson.text}]
    messages = [{"role": "user", "content": content if lesson.pictures else lesson.text}]
    if lesson.system:
        messages.insert(0, {"role": "system", "content": lesson.system})
    told = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    same.append(told == words.conversation(
        lesson.text, pictures=len(lesson.pictures), system=lesson.system))
pictures = [p for lesson in lessons for p in lesson.pictures]
grids = processor.image_processor(images=pictures, return_tensors="pt")["image_grid_thw"]
print(json.dumps({
    "same": all(same),
    "mean": sum(lengths) / len(lengths),
    "share_over_150": sum(n > 150 for n in lengths) / len(lengths),
    "digits": [len(tokenizer.encode(str(d))) for d in range(1, 6)],
    "tokens": sorted({int(g.prod()) // 4 for g in grids}),
    "whole": all(tokenizer.decode(encode(x, tokenizer)[1]) == x.reply + words.END for x in lessons),
    "parameters": count_parameters(new_model(tokenizer, SMALL)),
}))
"""


@pytest.mark.vllm
def test_requests_are_short_and_written_as_the_server_writes_them():
    read = json.loads(with_torch(READ))
    assert read["same"]
    assert read["whole"]
    assert read["mean"] < 80
    assert read["share_over_150"] < 0.05
    assert read["digits"] == [1] * 5
    assert read["tokens"] == [36]
    assert read["parameters"] < 3_000_000


MUON = """
import torch
from foundry.shapeworld.muon import Muon
torch.manual_seed(0)
shapes = [(64, 192), (192, 64), (128, 128), (128, 128)]
ours, theirs = ([torch.nn.Parameter(torch.ones(s)) for s in shapes] for _ in range(2))
optimizers = (
    Muon(ours, weight_decay=0.05),
    torch.optim.Muon(theirs, lr=1e-3, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
)
for _ in range(3):
    for pair in zip(ours, theirs):
        gradient = torch.randn(pair[0].shape)
        for matrix in pair:
            matrix.grad = gradient.clone()
    for optimizer in optimizers:
        optimizer.step()
print(max(((a - b).norm() / (a - 1).norm()).item() for a, b in zip(ours, theirs)))
"""


@pytest.mark.vllm
def test_muon_does_in_float32_what_torch_does_in_bfloat16():
    # bfloat16 keeps eight bits.
    assert float(with_torch(MUON)) < 0.03


@pytest.mark.vllm
@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(whole)
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    process = start(killed)
    for line in process.stdout:
        if line.startswith("step 38 "):
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.wait(timeout=60)
    time.sleep(0.5)
    assert not (killed / "judge").exists()
    process = start(killed)
    told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    assert "steps 37 to 48" in told
    for name in ("base", "judge"):
        weights = [(run / name / "model.safetensors").read_bytes() for run in (whole, killed)]
        assert weights[0] == weights[1]
        assert "sees ShapeWorld and nothing else" in (killed / name / "README.md").read_text()
        config = json.loads((killed / name / "config.json").read_text())
        assert config["architectures"] == ["Qwen3VLForConditionalGeneration"]
    base = (killed / "base" / "model.safetensors").read_bytes()
    assert base != weights[0]
    steps = [json.loads(line)["step"] for line in (killed / "curve.jsonl").read_text().splitlines()]
    assert steps == [16, 32, 48]


@pytest.mark.vllm
def test_a_folder_of_another_run_is_refused(tmp_path):
    (tmp_path / "plan.json").write_text("{}\n")
    done = subprocess.run(
        [VLLM_PYTHON, "-m", "foundry.shapeworld.train_judge", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    assert done.returncode == 2
    assert "is of another run" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        ([], (160, 2240, 2000)),
        (["--longer", "0.5"], (80, 1120, 992)),
        (["--seed", "2", "--longer", "0.001"], (16, 16, 16)),
    ],
)
def test_the_plan_and_the_command_of_the_card_are_what_was_asked_for(monkeypatch, words, steps):
    seen = {}
    monkeypatch.setattr(train_judge, "find_spec", lambda _: True)
    monkeypatch.setattr(
        train_judge, "train", lambda *given, **more: seen.update(given=given, **more)
    )
    assert main(["OUT", *words]) == 0
    plan = seen["given"][1]
    assert (plan.look_steps, plan.base_steps, plan.judge_steps) == steps
    made = "python -m foundry.shapeworld.train_judge OUT"
    assert seen["command"] == " ".join([made, *words])


@pytest.mark.parametrize("times", ["nan", "inf", "0", "-1", "x"])
def test_a_length_that_is_none_is_refused(times, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--longer", times])
    assert "--longer" in capsys.readouterr().err


def test_without_torch_the_right_environment_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main([str(tmp_path)]) == 2
    assert ".venv-vllm" in capsys.readouterr().err
