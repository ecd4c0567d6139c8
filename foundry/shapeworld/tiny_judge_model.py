"""The tiny judge's network: a Qwen3-VL of about a million parameters, and how it is fitted."""

# The imports below live in the server's environment, where this runs.
# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from foundry.shapeworld import tiny_judge_tokenizer as words
from foundry.shapeworld.tiny_judge_lessons import Lesson, draw_lesson
from foundry.shapeworld.tiny_judge_pictures import SIDE_PX

PATCH_PX = 8
STEPS = 260
_BATCH = 16
# Lessons are drawn ahead and batched by length, so that little of a batch is padding.
_POOL = 6 * _BATCH
_LEARNING_RATE = 4e-3
# A vision token covers 2 x 2 patches.
_TOKENS_A_PICTURE = (SIDE_PX // PATCH_PX // 2) ** 2


def new_model(tokenizer: Any) -> Any:
    """A `Qwen3VLForConditionalGeneration` with random weights, from torch's current seed."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    token = tokenizer.convert_tokens_to_ids
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": 32768,
            "initializer_range": 0.05,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": token(words.END),
            "pad_token_id": token(words.END_OF_TEXT),
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 2,
            "out_hidden_size": 128,
            "patch_size": PATCH_PX,
            "num_position_embeddings": (SIDE_PX // PATCH_PX) ** 2,
            "deepstack_visual_indexes": [0],
            "initializer_range": 0.05,
        },
        tie_word_embeddings=True,
        image_token_id=token(words.IMAGE),
        video_token_id=token(words.VIDEO),
        vision_start_token_id=token(words.VISION_START),
        vision_end_token_id=token(words.VISION_END),
    )
    model = Qwen3VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = token(words.END)
    model.generation_config.pad_token_id = token(words.END_OF_TEXT)
    return model


def new_processor(tokenizer: Any) -> Any:
    """The `Qwen3VLProcessor` that goes with the model.

    It scales a larger picture down to SIDE_PX squared pixels, 36 tokens; the model saw no others.
    """
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    settings = {
        "patch_size": PATCH_PX,
        "size": {"shortest_edge": (4 * PATCH_PX) ** 2, "longest_edge": SIDE_PX**2},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**settings),
        video_processor=Qwen3VLVideoProcessor(**settings),
        tokenizer=tokenizer,
        chat_template=words.CHAT_TEMPLATE,
    )


def fit(model: Any, processor: Any, random: Random, say: Callable[[str], None]) -> None:
    """Train the model on the replies of random lessons, STEPS batches of them."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=_LEARNING_RATE, total_steps=STEPS, pct_start=0.1
    )
    batches = _batches(processor, random)
    model.train()
    for step in range(1, STEPS + 1):
        inputs, labels = next(batches)
        hidden = model.model(**inputs).last_hidden_state[:, :-1]
        asked = labels[:, 1:] >= 0
        logits = model.lm_head(hidden[asked])
        loss = torch.nn.functional.cross_entropy(logits, labels[:, 1:][asked])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 40 == 0:
            say(f"fitted {step} of {STEPS} steps, loss {loss.item():.2f}")
    model.eval()


def _batches(processor: Any, random: Random) -> Iterator[tuple[dict[str, Any], Any]]:
    while True:
        pool = [draw_lesson(random) for _ in range(_POOL)]
        rows = sorted(
            (_tokens(lesson, processor.tokenizer) for lesson in pool),
            key=lambda row: len(row[0]) + len(row[1]),
        )
        groups = [rows[i : i + _BATCH] for i in range(0, _POOL, _BATCH)]
        random.shuffle(groups)
        for group in groups:
            yield _batch(group, processor)


def _tokens(lesson: Lesson, tokenizer: Any) -> tuple[list[int], list[int], Lesson]:
    """Token ids of what comes before the reply, and of the reply with its end."""
    text = words.conversation(lesson.text, pictures=len(lesson.pictures), system=lesson.system)
    text = text.replace(words.IMAGE, words.IMAGE * _TOKENS_A_PICTURE)
    before, reply = tokenizer([text, lesson.reply + words.END])["input_ids"]
    return before, reply, lesson


def _batch(
    rows: Sequence[tuple[list[int], list[int], Lesson]], processor: Any
) -> tuple[dict[str, Any], Any]:
    """Model inputs, and labels that are -100 but on the reply and its end."""
    import torch

    tokenizer = processor.tokenizer
    width = max(len(before) + len(reply) for before, reply, _ in rows)

    def table(values: Sequence[list[int]], fill: int) -> torch.Tensor:
        return torch.tensor([row + [fill] * (width - len(row)) for row in values])

    ids = table([before + reply for before, reply, _ in rows], tokenizer.pad_token_id)
    inputs = {
        "input_ids": ids,
        "attention_mask": table([[1] * (len(b) + len(r)) for b, r, _ in rows], 0),
        "mm_token_type_ids": (ids == tokenizer.convert_tokens_to_ids(words.IMAGE)).int(),
    }
    pictures = [picture for _, _, lesson in rows for picture in lesson.pictures]
    if pictures:
        inputs |= processor.image_processor(images=pictures, return_tensors="pt")
    return inputs, table([[-100] * len(before) + reply for before, reply, _ in rows], -100)
