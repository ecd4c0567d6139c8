"""A model of Qwen3-VL-8B's shape with random weights, and drawn rows, for bench/train_8b.py."""

from __future__ import annotations

import io
import random
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image, ImageDraw
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, Qwen3VLConfig

# As its published configuration says.
TEXT = {
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 5_000_000,
        "mrope_interleaved": True,
        "mrope_section": [24, 20, 20],
    },
}
VISION = {"depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "out_hidden_size": 4096}
TINY_TEXT = TEXT | {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3}
TINY_TEXT |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 2048}
TINY_VISION = VISION | {"depth": 2, "hidden_size": 128, "intermediate_size": 256}
TINY_VISION |= {"out_hidden_size": 256, "num_heads": 4, "deepstack_visual_indexes": [0]}
# Side of a picture in pixels, and words of an instruction and a reasoning: 1,152 tokens of pictures
# a row, and about 330 of text, because the tiny student's tokenizer writes a prompt in few.
SIZES = {"8b": (768, 150, 60), "tiny": (96, 8, 8)}
ROWS = 48


def write_model(folder: Path, scale: str, data: Path) -> None:
    """A model folder with random weights in bfloat16, its processor, and rows to train on."""
    base = Path("foundry/shapeworld/student_base")
    ids = AutoConfig.from_pretrained(base).to_dict()
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    text, vision = (TEXT, VISION) if scale == "8b" else (TINY_TEXT, TINY_VISION)
    text = text | {name: ids["text_config"][name] for name in ("eos_token_id", "pad_token_id")}
    tokens = {name: ids[name] for name in names}
    config = Qwen3VLConfig(text_config=text, vision_config=vision, dtype="bfloat16", **tokens)
    place = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(place):
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    processor = AutoProcessor.from_pretrained(base)
    pictures = {"shortest_edge": 65536, "longest_edge": 16777216}
    for part in (processor.image_processor, processor.video_processor):
        part.patch_size = 16
        part.size = type(part.size)(**pictures)
    processor.save_pretrained(folder)
    write_rows(data, *SIZES[scale])


def write_rows(folder: Path, side: int, asked: int, answered: int) -> None:
    """Edits with random pictures, instructions of so many words, reasonings of so many."""
    dice = random.Random(0)
    words = ["red", "green", "large", "small", "square", "circle", "above", "adds", "keeps"]
    rows: list[dict[str, Any]] = []
    for number in range(ROWS):
        row: dict[str, Any] = {
            "row_id": f"{number:020x}",
            "axis": ("execution", "consistency")[number % 2],
            "instruction": " ".join(dice.choices(words, k=asked)),
            "reasoning": " ".join(dice.choices(words, k=answered)).capitalize() + ".",
            "score": 1 + number % 5,
        }
        for name in ("source_image", "edited_image"):
            data = _picture(dice, side)
            digest = sha256(data).hexdigest()
            row |= {name: {"bytes": data, "path": f"{number}.jpg"}}
            row |= {f"{name}_sha256": digest, f"{name}_seen_sha256": digest}
        rows.append(row)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "train-00000-of-00001.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=8)


def _picture(dice: random.Random, side: int) -> bytes:
    image = Image.new("RGB", (side, side), (dice.randrange(256), 200, 180))
    pen = ImageDraw.Draw(image)
    for _ in range(20):
        x, y, size = dice.randrange(side), dice.randrange(side), side // 8
        pen.ellipse((x, y, x + size, y + size), fill=(dice.randrange(256), 80, 90))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()
