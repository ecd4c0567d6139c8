"""Write a tiny Qwen3-VL that a real vLLM server loads: a judge to try the factory with.

    python -m foundry.shapeworld.tiny_judge OUT

It has under 2 million parameters and its own tokenizer, starts from seeded random numbers and is
fitted for about a minute on made-up replies, so that it closes its strings and its words look like
English. Nothing is downloaded. **Its scores mean nothing.** They differ from picture to picture
because the made-up ones follow brightness.

Needs torch, torchvision and transformers, as the server's environment has them. The same inputs
(prompts, schemas, this package's sources) give the same model on the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any

from foundry.shapeworld import tiny_judge_tokenizer as words
from foundry.shapeworld.tiny_judge_lessons import SIDE_PX, WORDS, Lesson, draw_lesson, system_text

SEED = 20
VOCABULARY = 2048
PATCH_PX = 8
STEPS = int(os.environ.get("STEPS", 220))
BATCH = 16
_LEARNING_RATE = 4e-3
_MARK = "tiny_judge.json"
_SOURCES = ("tiny_judge.py", "tiny_judge_lessons.py", "tiny_judge_tokenizer.py")


def inputs_digest() -> str:
    """Hex sha256 of everything the model folder is made from: prompts, schemas, sources."""
    digest = sha256()
    for package in ("prompts", "schemas"):
        for file in sorted(resources.files(package).iterdir(), key=lambda f: f.name):
            if file.name.endswith((".md", ".json")):
                digest.update(file.name.encode() + b"\0" + file.read_bytes())
    for name in _SOURCES:
        digest.update((resources.files("foundry.shapeworld") / name).read_bytes())
    return digest.hexdigest()


def is_complete(folder: Path) -> bool:
    """Whether `folder` holds a finished model made from the present inputs."""
    try:
        return json.loads((folder / _MARK).read_text("utf-8"))["inputs"] == inputs_digest()
    except (OSError, ValueError, KeyError):
        return False


def write_tiny_judge(folder: Path) -> None:
    """Make, fit and write the model, replacing what was in `folder`.

    The folder appears whole or not at all. Raises OSError when it cannot be written.
    """
    import torch

    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    random = Random(SEED)
    sample = [draw_lesson(random) for _ in range(1500)]
    tokenizer = words.train_tokenizer(
        [*(lesson.text for lesson in sample), *_spaced(WORDS)],
        [lesson.reply for lesson in sample],
        VOCABULARY,
    )
    model = _new_model(tokenizer)
    processor = _processor(tokenizer)
    _fit(model, tokenizer, processor.image_processor, random)
    scratch = folder.with_name(folder.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    model.save_pretrained(scratch)
    processor.save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    words.save_chat_template(scratch)
    mark = {"inputs": inputs_digest(), "seed": SEED, "note": "a toy: its scores mean nothing"}
    (scratch / _MARK).write_text(json.dumps(mark, indent=1) + "\n", "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)


def _new_model(tokenizer: Any) -> Any:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    token = tokenizer.convert_tokens_to_ids
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": 32768,
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


def _processor(tokenizer: Any) -> Any:
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    # A larger picture is scaled down to what costs 36 tokens; the model has seen no other size.
    size = {"shortest_edge": (4 * PATCH_PX) ** 2, "longest_edge": SIDE_PX**2}
    settings = {
        "patch_size": PATCH_PX,
        "size": size,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**settings),
        video_processor=Qwen3VLVideoProcessor(**settings),
        tokenizer=tokenizer,
        chat_template=words.CHAT_TEMPLATE,
    )


def _fit(model: Any, tokenizer: Any, image_processor: Any, random: Random) -> None:
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=_LEARNING_RATE, total_steps=STEPS, pct_start=0.1
    )
    started = time.monotonic()
    model.train()
    for step in range(STEPS):
        batch = _batch([draw_lesson(random) for _ in range(BATCH)], tokenizer, image_processor)
        labels = batch.pop("labels")
        hidden = model.model(**batch).last_hidden_state[:, :-1]
        asked = labels[:, 1:] >= 0
        logits = model.lm_head(hidden[asked])
        loss = torch.nn.functional.cross_entropy(logits, labels[:, 1:][asked])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 20 == 19:
            passed = time.monotonic() - started
            print(f"tiny judge: step {step + 1}/{STEPS}, loss {loss.item():.2f}, {passed:.0f} s")
    model.eval()


def _batch(lessons: Sequence[Lesson], tokenizer: Any, image_processor: Any) -> dict[str, Any]:
    """Model inputs of some lessons; labels are -100 but on the reply and its end."""
    import torch

    # Neighbours of a like length waste little on padding.
    pictures = [picture for lesson in lessons for picture in lesson.pictures]
    tokens_a_picture = (SIDE_PX // PATCH_PX // 2) ** 2
    rows, asked = [], []
    for lesson in lessons:
        before = words.conversation(lesson.text, len(lesson.pictures), system_text())
        before = before.replace(words.IMAGE, words.IMAGE * tokens_a_picture)
        prompt = tokenizer(before, add_special_tokens=False)["input_ids"]
        reply = tokenizer(lesson.reply + words.END, add_special_tokens=False)["input_ids"]
        rows.append(prompt + reply)
        asked.append([-100] * len(prompt) + reply)
    width = max(map(len, rows))
    pad = tokenizer.pad_token_id
    input_ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    image = tokenizer.convert_tokens_to_ids(words.IMAGE)
    batch = {
        "input_ids": input_ids,
        "labels": torch.tensor([row + [-100] * (width - len(row)) for row in asked]),
        "attention_mask": torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in rows]),
        "mm_token_type_ids": (input_ids == image).int(),
    }
    if pictures:
        batch |= image_processor(images=pictures, return_tensors="pt")
    return batch


def _spaced(items: Sequence[str]) -> list[str]:
    return [f" {item} {item}" for item in items]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: `OUT`. Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write the model to")
    out = parser.parse_args(argv).out
    if is_complete(out):
        print(f"tiny judge: {out} is complete")
        return 0
    started = time.monotonic()
    write_tiny_judge(out)
    print(f"tiny judge: wrote {out} in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
