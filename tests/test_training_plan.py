"""What a training is said to need: arithmetic worked by hand, and what a GPU was seen to take."""

import json
import re
from dataclasses import replace

import pytest
from real_servers import run
from training_cases import TRAIN_PYTHON, command_of, needs_trainers, training_env, world_build

from trainers.estimates import Batch, How, Part, Shape, frozen_bytes, memory, model_flops


def part(parameters, matrices, trained):
    return Part(parameters=parameters, matrices=matrices, trained=trained)


# Numbers that can be added up by hand.
SMALL = Shape(
    embedding=part(100, 0, True),
    head=part(0, 0, True),
    layers=part(1000, 900, True),
    vision=part(200, 150, True),
    adapters=0,
    n_layers=2,
    hidden=4,
    feed_forward=8,
    queries=4,
    keys=2,
    vocabulary=10,
    n_vision_layers=3,
    vision_hidden=4,
    vision_feed_forward=8,
    mergers=30,
)
BATCH = Batch(sequences=2, length=5, patches=8, longest_picture=4, replies=3)
PLAIN = How(
    devices=1,
    compute=4,
    frozen=4,
    adapter=4,
    moments_of_8_bits=False,
    checkpointing=True,
    accumulates=True,
    reference=False,
)


def test_weights_gradients_and_moments_of_a_small_model_by_hand():
    found = memory(SMALL, BATCH, PLAIN)
    assert found["weights"] == 1300 * 4
    assert found["gradients"] == 1300 * 4
    assert found["moments"] == 1300 * 8
    # The input of 2 layers at 10 tokens of 4 numbers, and of 3 blocks at 8 patches of 4.
    assert found["activations"] == (2 * 10 * 4 + 3 * 8 * 4) * 4
    assert found["copies"] == 0
    assert found["peak"] == sum(size for name, size in found.items() if name != "peak")


def test_moments_of_8_bits_keep_those_of_the_embedding():
    found = memory(SMALL, BATCH, replace(PLAIN, moments_of_8_bits=True))
    assert found["moments"] == 2 * (100 * 4 + 1200 * (1 + 4 / 256))


def test_devices_share_what_lasts_and_a_reference_model_doubles_the_weights():
    whole = memory(SMALL, BATCH, PLAIN)
    shared = memory(SMALL, BATCH, replace(PLAIN, devices=4))
    for name in ("weights", "gradients", "moments"):
        assert shared[name] == whole[name] / 4
    twice = memory(SMALL, BATCH, replace(PLAIN, reference=True))
    assert twice["weights"] == 2 * whole["weights"]


def test_frozen_weights_have_no_gradient_and_no_moments():
    frozen = replace(
        SMALL,
        adapters=50,
        **{
            name: replace(getattr(SMALL, name), trained=False)
            for name in ("embedding", "head", "layers", "vision")
        },
    )
    found = memory(frozen, BATCH, replace(PLAIN, compute=2, frozen=2))
    assert found["weights"] == 1300 * 2 + 50 * 4
    assert (found["gradients"], found["moments"]) == (50 * 4, 50 * 8)
    assert frozen.trained == 50


def test_operations_by_hand():
    # Decoder: 2 x 900 x 10 tokens, and 2 x 4 x 5 x 10 x 2 layers of attention; 3 times.
    text = 3 * (2 * 900 * 10 + 2 * 4 * 5 * 10 * 2)
    head = 3 * 2 * 4 * 10 * 3
    # The encoder: 120 of its 150 matrix parameters a patch, 30 for four patches together.
    vision = 3 * (2 * 120 * 8 + 2 * 30 * 2 + 4 * 4 * 4 * 8 * 3)
    assert model_flops(SMALL, BATCH) == text + head + vision
    # A second model that runs forward alone adds a third.
    both = model_flops(SMALL, BATCH, reference=True)
    assert both == (text + head + vision) * 4 / 3
    # Beside LoRA no gradient of the decoder's matrices is needed, all of attention's are.
    frozen = replace(
        SMALL,
        adapters=50,
        **{n: replace(getattr(SMALL, n), trained=False) for n in ("head", "layers", "vision")},
    )
    text = 2 * (2 * 900 * 10) + 3 * (2 * 4 * 5 * 10 * 2)
    assert model_flops(frozen, BATCH) == text + 2 * head / 3 + vision / 3
    text = 3 * (2 * 900 * 10 + 2 * 4 * 5 * 10 * 2)
    # A frozen encoder runs forward alone.
    blind = replace(SMALL, vision=replace(SMALL.vision, trained=False))
    assert model_flops(blind, BATCH) == text + head + vision / 3


# Qwen3-VL-8B, counted by trainers.planning.shape_of.
EIGHT_B = Shape(
    embedding=part(622_329_856, 0, True),
    head=part(622_329_856, 622_329_856, True),
    layers=part(6_946_075_648, 6_945_767_424, True),
    vision=part(576_388_336, 571_502_592, True),
    adapters=0,
    n_layers=36,
    hidden=4096,
    feed_forward=12288,
    queries=4096,
    keys=1024,
    vocabulary=151_936,
    n_vision_layers=27,
    vision_hidden=1152,
    vision_feed_forward=4304,
    mergers=160_432_128,
)
ROW = Batch(sequences=1, length=1548, patches=4608, longest_picture=2304, replies=137)
# Rows at once, LoRA's parameters (none: all weights learn), 4 bits, and the peak in GB that
# bench/train_8b.py saw on an H200 (docs/benchmarks.md).
SEEN = {
    "LoRA": (4, 174_587_904, False, 24.75),
    "LoRA, 16 rows": (16, 174_587_904, False, 36.50),
    "all weights, 8-bit moments": (2, 0, False, 110.42),
    "QLoRA": (1, 87_293_952, True, 8.3),
}


@pytest.mark.parametrize("case", SEEN)
def test_the_plan_is_near_what_a_gpu_was_seen_to_take(case):
    rows, adapters, four_bit, seen = SEEN[case]
    shape = replace(EIGHT_B, adapters=adapters)
    if adapters:
        names = ("embedding", "head", "layers", "vision")
        shape = replace(shape, **{n: replace(getattr(shape, n), trained=False) for n in names})
    how = How(
        devices=1,
        compute=2,
        frozen=frozen_bytes(four_bit=four_bit, compute=2, lora=bool(adapters)),
        adapter=2 if four_bit else 4,
        moments_of_8_bits=not adapters,
        checkpointing=True,
        accumulates=rows < 16,
        reference=False,
    )
    batch = replace(ROW, sequences=rows, patches=ROW.patches * rows, replies=137 * rows)
    assert memory(shape, batch, how)["peak"] / 1e9 == pytest.approx(seen, rel=0.15)


@pytest.mark.train
@needs_trainers
def test_the_command_tells_a_plan_and_does_nothing_else(tmp_path):
    data = world_build(tmp_path / "edit", "edit", 16)
    output = tmp_path / "out"
    command = [*command_of("sft", output, [data], "batch=10", "device_batch=5"), "--plan"]
    done = run(command, env=training_env())
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    # 12 edits to train on, 2 axes: 4 epochs of two steps of 10 rows, and one of what is left.
    assert "24, " in lines["rows"]
    assert lines["steps"].startswith("steps     12 of 10 rows")
    assert re.search(r" (0\.002\d+) B parameters, \1 B learn", lines["model"])
    assert "5 rows at once" in lines["memory"]
    assert not output.exists()


SHARED = """
import json
from pipelines.recipe_files import RecipeRefused
from trainers.arguments import shares
from trainers.planning import how
from trainers.settings import SftRecipe
about = {"model": "m", "data": ["d"], "output": "o", "batch": 80, "device_batch": 2}
whole, lora = SftRecipe(**about), SftRecipe(**about, lora={"rank": 4})
found = {"whole": how(whole, 8).devices, "lora": how(lora, 8).devices, "times": shares(whole, 8)}
try:
    shares(whole, 16)
except RecipeRefused as error:
    found["refused"] = str(error)
print(json.dumps(found))
"""


@pytest.mark.train
@needs_trainers
def test_lora_is_whole_on_every_device_and_a_batch_that_cannot_be_shared_is_refused():
    done = run([TRAIN_PYTHON, "-c", SHARED], env=training_env())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["whole"], found["lora"], found["times"]) == (8, 1, 5)
    assert "batch 80 is not a multiple of the 32 rows" in found["refused"]
