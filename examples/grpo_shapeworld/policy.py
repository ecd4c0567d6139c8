"""The policy: a tiny Qwen3 that reads a prompt and writes a text, warm-started on examples."""

# The imports below live in the trainers' environment.
# pyright: reportMissingImports=false
from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from examples.grpo_shapeworld.scene_text import MOST_WORDS

_PAD, _START, _END = "<pad>", "<start>", "<end>"
_BATCH = 64
# The words of so many examples make the vocabulary.
_READ = 2000
# A prompt and a text for it.
Example = tuple[str, str]
_LEARNING_RATE = 1e-3
_SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
}


def as_asked(prompt: str) -> str:
    """A prompt as the policy gets it."""
    return f"{prompt.lower()} {_START}"


def make_tokenizer(examples: Iterable[Example]) -> PreTrainedTokenizerFast:
    """A word a token: those of some examples. A word that is in none is padding."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=_PAD))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = [_PAD, _START, _END]
    trainer = trainers.WordLevelTrainer(special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator((" ".join(one).lower() for one in examples), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_PAD,
        eos_token=_END,
        additional_special_tokens=[_START],
        clean_up_tokenization_spaces=False,
    )


def warm_start(
    folder: Path,
    examples: Iterator[Example],
    *,
    seed: int,
    steps: int,
    say: Callable[[str], None],
) -> None:
    """Train a policy from scratch on examples, each of which it sees once, and write it. Seeded.

    The tokenizer is written last: a folder that has one is whole.
    """
    torch.manual_seed(seed)
    first = list(islice(examples, _READ))
    examples = chain(first, examples)
    tokenizer = make_tokenizer(first)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **_SHAPE,
    )
    model = Qwen3ForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    started = time.monotonic()
    for step in range(steps):
        loss = model(**as_batch(tokenizer, list(islice(examples, _BATCH)))).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 49:
            seconds = time.monotonic() - started
            say(f"warm start {step + 1} of {steps}, loss {loss:.2f}, {seconds:.0f} s")
    model.generation_config.max_new_tokens = MOST_WORDS + 1
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def as_batch(tokenizer: Any, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """Padded on the right; the loss is on the texts and their ends."""
    asked = [tokenizer(as_asked(prompt))["input_ids"] for prompt, _ in examples]
    told = [tokenizer(text)["input_ids"] + [tokenizer.eos_token_id] for _, text in examples]
    length = max(len(a) + len(t) for a, t in zip(asked, told, strict=True))
    rows, labels = [], []
    for before, after in zip(asked, told, strict=True):
        padding = length - len(before) - len(after)
        rows.append(before + after + [tokenizer.pad_token_id] * padding)
        labels.append([-100] * len(before) + after + [-100] * padding)
    ids = torch.tensor(rows)
    return {
        "input_ids": ids,
        "attention_mask": (ids != tokenizer.pad_token_id).long(),
        "labels": torch.tensor(labels),
    }
