"""Write a tiny Qwen3-VL that a real vLLM server loads: a judge to try the factory with.

    python -m foundry.shapeworld.tiny_judge OUT

It has about a million parameters and its own tokenizer, starts from seeded random numbers and is
fitted for about a minute on made-up replies, so that it closes its strings and its words look like
English. Nothing is downloaded. **Its scores mean nothing.** They differ from picture to picture
because the made-up ones follow brightness.

Needs torch, torchvision and transformers, which the server's environment has. The same inputs
(prompts, schemas, these sources) give the same model on the same machine.
"""

# The imports below live in the server's environment, where this runs.
# pyright: reportMissingImports=false
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

SEED = 20
VOCABULARY = 2048
_THREADS = 2
_SAMPLE_LESSONS = 1500
STEPS = 260
_BATCH = 16
# Lessons are drawn ahead and batched by length.
_POOL = 6 * _BATCH
_LEARNING_RATE = 4e-3
_MARK = "tiny_judge.json"
_PACKAGE = "foundry.shapeworld"


def inputs_digest() -> str:
    """Hex sha256 of all that the model folder is made from: prompts, schemas, sources."""
    digest = sha256()
    for package, start, end in (
        ("prompts", "", ".md"),
        ("schemas", "", ".json"),
        (_PACKAGE, "tiny_judge", ".py"),
        *((_PACKAGE, f"judge_{part}", ".py") for part in ("batches", "model", "tokenizer")),
    ):
        for file in sorted(resources.files(package).iterdir(), key=lambda f: f.name):
            if file.name.startswith(start) and file.name.endswith(end):
                digest.update(file.name.encode() + b"\0" + file.read_bytes())
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
    # Waiting threads that spin would fight whatever else runs on a small machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch
    from transformers.utils import logging

    from foundry.shapeworld.judge_model import TOY, new_model, new_processor
    from foundry.shapeworld.judge_tokenizer import train_tokenizer
    from foundry.shapeworld.tiny_judge_lessons import WORDS, draw_lesson

    logging.disable_progress_bar()
    torch.manual_seed(SEED)
    torch.set_num_threads(_THREADS)
    random = Random(SEED)
    sample = [draw_lesson(random) for _ in range(_SAMPLE_LESSONS)]
    texts = [lesson.text for lesson in sample] + [f" {word} {word}" for word in WORDS.split()]
    tokenizer = train_tokenizer(texts, [lesson.reply for lesson in sample], VOCABULARY)
    model, processor = new_model(tokenizer, TOY), new_processor(tokenizer)
    fit(model, processor, random)
    scratch = folder.with_name(folder.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    # The server computes in bfloat16; what is rounded here need not be rounded there.
    model.to(torch.bfloat16).save_pretrained(scratch)
    processor.save_pretrained(scratch)
    mark = {"inputs": inputs_digest(), "seed": SEED, "note": "a toy: its scores mean nothing"}
    (scratch / _MARK).write_text(json.dumps(mark, indent=1) + "\n", "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)


def fit(model: Any, processor: Any, random: Random) -> None:
    """Train the model on the replies of random lessons, STEPS batches of them."""
    import torch

    from foundry.shapeworld.judge_batches import batches_of, reply_loss
    from foundry.shapeworld.tiny_judge_lessons import draw_lesson

    optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=_LEARNING_RATE, total_steps=STEPS, pct_start=0.1
    )
    batches: list[Any] = []
    model.train()
    for step in range(1, STEPS + 1):
        if not batches:
            lessons = [draw_lesson(random) for _ in range(_POOL)]
            batches = batches_of(lessons, processor, size=_BATCH, dice=random)
        loss = reply_loss(model, *batches.pop(0))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 40 == 0:
            say(f"fitted {step} of {STEPS} steps, loss {loss.item():.2f}")
    model.eval()


def say(text: str) -> None:
    """Print for the person who waits."""
    print(f"tiny judge: {text}", flush=True)  # noqa: T201 - a command's own output


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: `OUT`. Returns 0."""
    parser = argparse.ArgumentParser(description="Write the bundled tiny judge.")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write the model to")
    out: Path = parser.parse_args(argv).out
    if is_complete(out):
        say(f"{out} is complete")
        return 0
    started = time.monotonic()
    say(f"making {out}, about two minutes on two cores")
    write_tiny_judge(out)
    say(f"wrote {out} in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
