"""The two checkpoints that come with the project, as files: small, bfloat16, Qwen3-VL."""

import json
import struct
from math import prod
from pathlib import Path

import pytest

FOLDERS = [Path("foundry/shapeworld") / name for name in ("judge", "student_base")]


def tensors(folder):
    """The header of a safetensors file: dtype and shape by name."""
    with open(folder / "model.safetensors", "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return {name: value for name, value in header.items() if name != "__metadata__"}


def test_all_checkpoints_together_are_at_most_twelve_megabytes():
    files = [path for folder in FOLDERS for path in folder.iterdir()]
    assert sum(path.stat().st_size for path in files) <= 12_000_000


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_checkpoint_is_a_qwen3_vl_of_under_three_million_bfloat16_parameters(folder):
    found = tensors(folder).values()
    assert {tensor["dtype"] for tensor in found} == {"BF16"}
    assert 1_000_000 < sum(prod(tensor["shape"]) for tensor in found) < 3_000_000
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["Qwen3VLForConditionalGeneration"]


def test_judge_and_base_are_one_network_with_other_weights():
    judge, base = map(tensors, FOLDERS)
    assert {n: t["shape"] for n, t in judge.items()} == {n: t["shape"] for n, t in base.items()}
    assert len({(folder / "tokenizer.json").read_bytes() for folder in FOLDERS}) == 1
    assert len({(folder / "model.safetensors").read_bytes() for folder in FOLDERS}) == 2
