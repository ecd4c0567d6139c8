"""GRPO of one policy with TRL's GRPOTrainer, its rewards from a server or from the exact truth.

    PYTHONPATH=. .venv-train/bin/python -m examples.grpo_shapeworld.train --task gen \
        --formula alignment --url http://127.0.0.1:8600 --out models/grpo/mine-0
    PYTHONPATH=. .venv-train/bin/python -m examples.grpo_shapeworld.train --task edits \
        --formula cme --truth --out models/grpo/edits-0

The same command goes on after a break.
"""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import datasets
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from examples.grpo_shapeworld import rewards
from examples.grpo_shapeworld.policy import as_asked, warm_start
from examples.grpo_shapeworld.prompts import TASKS, grpo_prompts, measured, warm_examples
from examples.grpo_shapeworld.scene_text import MOST_WORDS
from examples.grpo_shapeworld.task import Task
from pipelines.shards import write_json
from pipelines.version import code_version
from trainers.run_folder import last_checkpoint

_WARM_SEED = 1_000
_TEXTS_A_STEP, _TEXTS_A_PROMPT = 64, 8


def main() -> None:
    """Warm-start if there is no policy yet, measure, train, measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--task", choices=TASKS, required=True)
    critic = parser.add_mutually_exclusive_group(required=True)
    critic.add_argument("--url", help="of the reward server")
    critic.add_argument("--truth", action="store_true", help="rewards of the exact truth")
    parser.add_argument("--formula", required=True, help="that rewards, the server's too, go by")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--warm", type=Path, help="a policy to begin with, made if it is not there")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--warm-steps", type=int, help="fewer or more than the task's own")
    options = parser.parse_args()
    task = TASKS[options.task]
    if options.formula not in task.formulas:
        parser.error(f"--formula {options.formula}: {task.name} has {', '.join(task.formulas)}")
    if (options.out / "result.json").exists():
        print(f"{options.out}: finished")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    seconds = _stopwatch(options.out / "seconds.json")
    warm = options.warm or options.out / "warm"
    if not (warm / "tokenizer.json").exists():
        steps = options.warm_steps or task.warm_steps

        def say(text: str) -> None:
            seconds()
            _say(text)

        warm_start(warm, warm_examples(task), seed=_WARM_SEED, steps=steps, say=say)
    tokenizer = AutoTokenizer.from_pretrained(warm)
    trainer = make_trainer(task, options, warm, tokenizer)
    trainer.add_callback(Lines(seconds))
    # It would print every number of every step.
    trainer.remove_callback(PrinterCallback)
    before = options.out / "before.json"
    if not before.exists():
        write_json(before, measure(task, trainer.model, tokenizer))
    found = {"before": json.loads(before.read_text())}
    _say(f"before: {_told(found['before'])}")
    checkpoint = last_checkpoint(options.out)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    found["after"] = measure(task, trainer.model, tokenizer)
    _say(f"after: {_told(found['after'])}")
    found["log"] = [line for line in trainer.state.log_history if "reward" in line]
    found |= {"seconds": seconds(), "date": time.strftime("%Y-%m-%d"), "code": code_version()}
    write_json(options.out / "result.json", found)


def _stopwatch(path: Path) -> Callable[[], float]:
    """Seconds from here to when it is called, and those of earlier calls of the command.

    Each is noted in the file, so that a call that is cut off counts up to its last.
    """
    began = time.monotonic()
    earlier = json.loads(path.read_text()) if path.exists() else 0.0

    def seconds() -> float:
        total = earlier + time.monotonic() - began
        write_json(path, total)
        return total

    return seconds


def make_trainer(
    task: Task, options: argparse.Namespace, warm: Path, tokenizer: Any
) -> GRPOTrainer:
    """TRL's own trainer, with eight scenes to a prompt and eight prompts to a step."""
    config = GRPOConfig(
        output_dir=str(options.out / "checkpoints"),
        seed=options.seed,
        max_steps=options.steps,
        per_device_train_batch_size=_TEXTS_A_STEP,
        num_generations=_TEXTS_A_PROMPT,
        max_completion_length=MOST_WORDS + 1,
        learning_rate=3e-4,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=5,
        beta=task.beta,
        temperature=1.0,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        gradient_checkpointing=False,
        logging_steps=1,
        save_steps=25,
        save_total_limit=1,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
    )
    n = options.steps * _TEXTS_A_STEP // _TEXTS_A_PROMPT
    asked = list(islice(grpo_prompts(task, options.seed), n))
    critic = (
        rewards.server_critic(task, options.url)
        if options.url
        else rewards.true_critic(task, options.formula)
    )
    return GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(warm, dtype=torch.float32),
        args=config,
        reward_funcs=rewards.reward_function(task, options.formula, critic, asked),
        train_dataset=datasets.Dataset.from_list(
            [{"prompt": as_asked(one.text), "number": i} for i, one in enumerate(asked)]
        ),
        processing_class=tokenizer,
    )


def measure(task: Task, model: Any, tokenizer: Any) -> list[dict[str, Any]]:
    """For each measured prompt whether a text told a `scene`, and the `truth` of it.

    Prompts that no training meets, one text each; the dice of the training stay as they are.
    """
    asked = measured(task)
    prompts = tokenizer(
        [as_asked(one.text) for one in asked],
        return_tensors="pt",
        padding=True,
        padding_side="left",
    ).to(model.device)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        told = model.generate(
            **{name: prompts[name] for name in ("input_ids", "attention_mask")},
            do_sample=True,
            temperature=1.0,
            top_k=0,
            max_new_tokens=MOST_WORDS + 1,
        )
    replies = told[:, prompts["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(replies, skip_special_tokens=True)
    found = []
    for one, text in zip(asked, texts, strict=True):
        scene = task.read(one, text)
        truth = dict(rewards.measure(task, one, scene))
        found.append({"scene": scene is not None, "truth": truth})
    return found


def _told(found: list[dict[str, Any]]) -> str:
    means = {name: fmean(one["truth"][name] for one in found) for name in found[0]["truth"]}
    told = [f"{name} {mean:.2f}" for name, mean in means.items()]
    return ", ".join([*told, f"scenes {fmean(one['scene'] for one in found):.0%}"])


class Lines(TrainerCallback):
    """A line every ten steps, with the seconds that are asked for after each."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """Print it."""
        if "reward" not in logs:
            return
        seconds = self._seconds()
        if state.global_step % 10 == 0:
            names = [name for name in logs if name.startswith("true_")]
            names = ["reward", "reward_error", "reward_correlation", *names]
            names += ["scenes", "unscored", "kl"]
            # The reward of a step of which nothing could be scored is None.
            known = {name: logs[name] for name in names if logs.get(name) is not None}
            told = ", ".join(f"{name} {value:.3f}" for name, value in known.items())
            _say(f"step {state.global_step} of {state.max_steps}, {seconds:.0f} s: {told}")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
