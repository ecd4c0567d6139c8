"""GRPO of one policy with TRL's GRPOTrainer, its rewards from a reward server.

    PYTHONPATH=. .venv-train/bin/python -m examples.grpo_shapeworld.train \
        --url http://127.0.0.1:8600 --out models/grpo/mine-0

The same command goes on after a break. What a text tells no scene earns 0: there is nothing to see.
True scores are logged and never learnt from.
"""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import datasets
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint
from trl import GRPOConfig, GRPOTrainer

from examples.grpo_shapeworld.policy import as_asked, warm_start
from examples.grpo_shapeworld.scene_text import MOST_WORDS, prompt_of, read_scene, true_score
from foundry.rewards.client import gen_item
from foundry.rewards.trl import make_reward
from foundry.shapeworld.drawing import draw_scene, jpeg_bytes
from foundry.shapeworld.gen_truth import Absent, Group, Relation, Wanted

# Prompts of the warm start, of GRPO, and of the measures before and after.
_WARM_SEED, _GRPO_SEED, _MEASURED_SEED = 1_000, 2_000, 3_000
_MEASURED = 200


def main() -> None:
    """Warm-start if there is no policy yet, measure, train, measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--url", required=True, help="of the reward server")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--warm", type=Path, help="a policy to begin with, made if it is not there")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--warm-steps", type=int, default=600)
    options = parser.parse_args()
    if (options.out / "result.json").exists():
        print(f"{options.out}: finished")
        return
    warm = options.warm or options.out / "warm"
    if not (warm / "tokenizer.json").exists():
        warm_start(warm, seed=_WARM_SEED, steps=options.warm_steps, say=_say)
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(warm)
    trainer = make_trainer(options, warm, tokenizer)
    before = options.out / "before.json"
    if not before.exists():
        before.write_text(json.dumps(measure(trainer.model, tokenizer)))
        _say(f"before: {before.read_text()}")
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(options.out)))
    after = measure(trainer.model, tokenizer)
    _say(f"after: {json.dumps(after)}")
    found = {"before": json.loads(before.read_text()), "after": after}
    found["log"] = [line for line in trainer.state.log_history if "reward" in line]
    (options.out / "result.json").write_text(json.dumps(found))


def make_trainer(options: argparse.Namespace, warm: Path, tokenizer: Any) -> GRPOTrainer:
    """TRL's own trainer, with eight scenes to a prompt and eight prompts to a step."""
    config = GRPOConfig(
        output_dir=str(options.out),
        seed=options.seed,
        max_steps=options.steps,
        per_device_train_batch_size=64,
        num_generations=8,
        max_completion_length=MOST_WORDS + 1,
        learning_rate=3e-4,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=5,
        beta=0.0,
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
    return GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(warm, dtype=torch.float32),
        args=config,
        reward_funcs=reward_of(options.url),
        train_dataset=prompts(_GRPO_SEED + options.seed, 64 * options.steps),
        processing_class=tokenizer,
        callbacks=[Lines()],
    )


def prompts(seed: int, n: int) -> datasets.Dataset:
    """Prompts with what they ask for, which only the true score reads."""
    rows = []
    for number in range(n):
        wanted, prompt = prompt_of(seed, number)
        row = {"prompt": as_asked(prompt), "prompt_text": prompt}
        rows.append(row | {"wanted": json.dumps(asdict(wanted))})
    return datasets.Dataset.from_list(rows)


def reward_of(url: str) -> Any:
    """The critic's reward of what is drawn, 0 for a text that tells no scene."""
    critic = make_reward(url, make_item=_item)

    def critic_reward(**columns: Any) -> list[float | None]:
        scenes = [read_scene(text) for text in columns["completions"]]
        given = critic(**columns)
        truth = [
            true_score(read_wanted(wanted), scene)
            for wanted, scene in zip(columns["wanted"], scenes, strict=True)
            if scene is not None
        ]
        log = columns["log_metric"]
        log("scenes", sum(scene is not None for scene in scenes) / len(scenes))
        log("unscored", sum(map(_is_unscored, scenes, given)) / len(scenes))
        if truth:
            log("true_score", fmean(truth))
        return [0.0 if scene is None else one for scene, one in zip(scenes, given, strict=True)]

    return critic_reward


def _is_unscored(scene: Any, reward: float | None) -> bool:
    return scene is not None and reward is None


def _item(sample: Mapping[str, Any]) -> dict[str, str] | None:
    text = sample["completion"]
    scene = read_scene(text)
    if scene is None:
        return None
    dice = Random(f"{sample['prompt_text']} {text}")
    return gen_item(sample["prompt_text"], jpeg_bytes(draw_scene(scene, dice), dice))


def read_wanted(text: str) -> Wanted:
    """What `prompts` wrote of a wish."""
    facts = json.loads(text)
    return Wanted(
        groups=tuple(Group(**one) for one in facts["groups"]),
        relations=tuple(Relation(**one) for one in facts["relations"]),
        absent=tuple(Absent(**one) for one in facts["absent"]),
        background=facts["background"],
    )


def measure(model: Any, tokenizer: Any) -> dict[str, float | None]:
    """For prompts that no training saw: the share of texts that tell a scene, and the mean true
    score of those, 1 to 5, None where there are none.
    """
    torch.manual_seed(0)
    rows = prompts(_MEASURED_SEED, _MEASURED)
    asked = tokenizer(
        list(rows["prompt"]), return_tensors="pt", padding=True, padding_side="left"
    ).to(model.device)
    told = model.generate(
        **{name: asked[name] for name in ("input_ids", "attention_mask")},
        do_sample=True,
        temperature=1.0,
        max_new_tokens=MOST_WORDS + 1,
    )[:, asked["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(told, skip_special_tokens=True)
    scenes = [read_scene(text) for text in texts]
    truth = [
        true_score(read_wanted(wanted), scene)
        for wanted, scene in zip(rows["wanted"], scenes, strict=True)
        if scene is not None
    ]
    return {"scenes": len(truth) / len(texts), "true_score": fmean(truth) if truth else None}


class Lines(TrainerCallback):
    """A line every ten steps."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """Print it."""
        if "reward" in logs and state.global_step % 10 == 0:
            names = ("reward", "true_score", "scenes", "unscored")
            told = ", ".join(f"{name} {float(logs[name]):.3f}" for name in names if name in logs)
            _say(f"step {state.global_step} of {state.max_steps}: {told}")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
