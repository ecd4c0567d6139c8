"""Some steps of TRL's own GRPOTrainer over a reward server.

    grpo_steps.py URL FOLDER

Run where TRL is. Prints JSON by way of asking, "sync", "async" and "rollout": the log, the rewards
that TRL was given, how many weights moved. With "rollout" the pictures come from a `rollout_func`,
as from a policy that draws; else `make_item` has them.
"""

import asyncio
import functools
import json
import sys
from itertools import islice
from pathlib import Path

import datasets
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from examples.grpo_shapeworld.pictures import PICTURES
from examples.grpo_shapeworld.policy import as_asked, make_tokenizer
from examples.grpo_shapeworld.prompts import warm_examples
from foundry.rewards.client import gen_item
from foundry.rewards.trl import make_reward

STEPS, GROUP = 2, 4


WAYS = ("sync", "async", "rollout")


def steps(url, folder, way):
    """A training of its own."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(islice(warm_examples(PICTURES), 500))
    drawn, given = [], []
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    tokens = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = Qwen3ForCausalLM(Qwen3Config(vocab_size=len(tokenizer), **sizes, **heads, **tokens))
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    picture = (Path(folder) / "picture.png").read_bytes()

    def draw():
        # One of each group cannot be scored; pictures differ, as JPEG may end in anything.
        drawn.append(None if len(drawn) % GROUP == 3 else picture + bytes([len(drawn)]))
        return drawn[-1]

    def make_item(sample):
        return None if (image := draw()) is None else gen_item("A hat.", image)

    def rollout(prompts, trainer):
        # Whatever was written: what counts here is that pictures come with the completions.
        asked = [tokenizer(prompt)["input_ids"] for prompt in prompts]
        wrote = [[10 + i, tokenizer.eos_token_id] for i in range(len(prompts))]
        pictures = [draw() for _ in prompts]
        sent = {"prompt_ids": asked, "completion_ids": wrote, "logprobs": None}
        return {**sent, "generated_image": pictures}

    row = {"prompt": as_asked("a red circle"), "prompt_text": "A hat."}
    rows = [row] * (GROUP * STEPS)
    made = {} if way == "rollout" else {"make_item": make_item}
    reward = make_reward(url, name="critic", asynchronous=way == "async", **made)
    config = GRPOConfig(
        output_dir=folder,
        max_steps=STEPS,
        per_device_train_batch_size=GROUP,
        num_generations=GROUP,
        max_completion_length=4,
        learning_rate=1e-2,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trainer = GRPOTrainer(
        model=model,
        args=config,
        reward_funcs=noting(reward, given),
        rollout_func=rollout if way == "rollout" else None,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.train()
    after = dict(trainer.model.named_parameters())
    moved = sum(not torch.equal(one, after[name]) for name, one in before.items())
    log = [line for line in trainer.state.log_history if "reward" in line]
    return {"log": log, "given": given, "moved": moved}


def noting(reward, given):
    """The same function, which also puts what it gives into a list."""
    if not asyncio.iscoroutinefunction(reward):

        @functools.wraps(reward)
        def noted(**columns):
            given.extend(found := reward(**columns))
            return found

        return noted

    @functools.wraps(reward)
    async def noted_async(**columns):
        given.extend(found := await reward(**columns))
        return found

    return noted_async


if __name__ == "__main__":
    print(json.dumps({way: steps(*sys.argv[1:], way) for way in WAYS}))
