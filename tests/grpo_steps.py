"""Some steps of TRL's own GRPOTrainer over a reward server: `grpo_steps.py URL FOLDER sync|async`.

Run where TRL is. Prints JSON: the log, what was scored and what was not, how many weights moved.
"""

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


def main(url, folder, way):
    torch.manual_seed(0)
    tokenizer, seen = make_tokenizer(islice(warm_examples(PICTURES), 500)), []
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    tokens = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = Qwen3ForCausalLM(Qwen3Config(vocab_size=len(tokenizer), **sizes, **heads, **tokens))
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    picture = (Path(folder) / "picture.png").read_bytes()

    def make_item(sample):
        # One of each group cannot be scored.
        seen.append(sample["completion"])
        number = len(seen)
        return None if number % GROUP == 0 else gen_item(f"{number} hats", picture)

    rows = [{"prompt": as_asked("a red circle")}] * (GROUP * STEPS)
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
        reward_funcs=make_reward(
            url, name="critic", make_item=make_item, asynchronous=way == "async"
        ),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.train()
    after = dict(trainer.model.named_parameters())
    moved = sum(not torch.equal(one, after[name]) for name, one in before.items())
    log = [line for line in trainer.state.log_history if "reward" in line]
    print(json.dumps({"log": log, "seen": len(seen), "moved": moved}))


if __name__ == "__main__":
    main(*sys.argv[1:])
