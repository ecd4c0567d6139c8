"""Near duplicates, against comparing every row with every other."""

import json
import random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.dataset_settings import Gates
from pipelines.gates.build_gates import make_gate, near_rows_of
from pipelines.gates.contamination import read_benchmarks
from pipelines.gates.duplicates import NearRows, find_near_rows
from pipelines.gates.words import normalise_text
from pipelines.ingest import ingest
from pipelines.picture_hash import COLOUR_BYTES, HASH_BYTES, colour_distance, hash_distance
from pipelines.recipe import GenRecipe
from pipelines.rows import read_rows

BITS, COLOUR = 7, 8


def flip(phash, bits):
    value = int(phash, 16)
    for bit in bits:
        value ^= 1 << bit
    return f"{value:0{2 * HASH_BYTES}x}"


def row(i, text="a dog", phash="0" * 2 * HASH_BYTES, colour=100):
    return {
        "row_id": f"r{i}",
        "text": text,
        "image_phash": phash,
        "image_colour": bytes([colour] * COLOUR_BYTES).hex(),
    }


def found(*rows, most_bits=BITS, **more):
    roles = [name.removesuffix("_phash") for name in rows[0] if name.endswith("_phash")]
    return find_near_rows(
        pl.DataFrame(list(rows)), roles, most_bits=most_bits, most_colour=COLOUR, **more
    )


def near(*rows, **more):
    """For each row that is like another, the names of all that it is like."""
    result = found(*rows, **more)
    return {
        row_id: sorted(
            other
            for other, its_set in result.sets.items()
            if its_set in result.near[ours] and other != row_id
        )
        for row_id, ours in result.sets.items()
    }


def test_a_picture_a_few_bits_off_is_near():
    rows = row(0), row(1, phash=flip(row(0)["image_phash"], range(0, 224, 32)))
    assert near(*rows) == {"r0": ["r1"], "r1": ["r0"]}


def test_more_bits_than_allowed_are_another_picture():
    rows = row(0), row(1, phash=flip(row(0)["image_phash"], range(8)))
    assert near(*rows) == {}
    assert near(*rows, most_bits=8) == {"r0": ["r1"], "r1": ["r0"]}


def test_another_colour_is_another_picture():
    assert near(row(0), row(1, colour=108)) == {"r0": ["r1"], "r1": ["r0"]}
    assert near(row(0), row(1, colour=109)) == {}


def test_another_text_is_another_row():
    assert near(row(0), row(1, text="a cat")) == {}


def test_every_role_must_be_near():
    rows = [
        {**row(i), "edited_image_phash": edited, "edited_image_colour": row(i)["image_colour"]}
        for i, edited in enumerate(("0" * 64, "0" * 64, "f" * 64))
    ]
    assert near(*rows) == {"r0": ["r1"], "r1": ["r0"]}


def test_equal_rows_are_one_set_however_many():
    rows = [row(i) for i in range(200)]
    result = found(*rows, row(200, phash=flip(row(0)["image_phash"], [3])))
    assert (len(set(result.sets.values())), result.capped) == (2, 0)
    assert len(near(*rows)["r0"]) == 199


def test_groups_too_large_are_compared_in_part_and_counted():
    rows = [row(i, colour=10 + i) for i in range(6)]
    result = near(*rows, most_compared=2)
    assert result["r5"] == ["r3", "r4"]
    assert found(*rows, most_compared=2).capped == 8
    assert found(*rows[:3], most_compared=2).capped == 0


def test_a_pair_too_far_apart_in_one_large_group_is_compared_in_another():
    # All share their first piece and no other; the last is one bit off the 50th.
    dice = random.Random(0)
    hashes = [f"{'0' * 8}{dice.getrandbits(224):056x}" for _ in range(199)]
    hashes.append(flip(hashes[49], [0]))
    rows = [row(i, phash=phash) for i, phash in enumerate(hashes)]
    assert near(*rows) == {"r49": ["r199"], "r199": ["r49"]}
    result = found(*rows)
    assert (result.capped, len(result.near)) == (1, 2)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_to_compare(n):
    empty = pl.DataFrame([row(0)])[:n]
    result = find_near_rows(empty, ["image"], most_bits=BITS, most_colour=COLOUR)
    assert (result.sets, result.near, result.capped) == ({}, {}, 0)


@given(st.integers(0, 2**32), st.integers(2, 30))
def test_up_to_seven_bits_it_finds_what_comparing_all_finds(seed, n):
    dice = random.Random(seed)
    bases = [f"{dice.getrandbits(256):064x}" for _ in range(3)]
    rows = [
        row(
            i,
            text=dice.choice(["a dog", "a cat"]),
            phash=flip(dice.choice(bases), dice.sample(range(256), dice.randrange(6))),
            colour=dice.choice([100, 106, 112]),
        )
        for i in range(n)
    ]
    expected = {}
    for one in rows:
        for other in rows:
            if (
                one is not other
                and one["text"] == other["text"]
                and hash_distance(one["image_phash"], other["image_phash"]) <= BITS
                and colour_distance(one["image_colour"], other["image_colour"]) <= COLOUR
            ):
                expected.setdefault(one["row_id"], []).append(other["row_id"])
    assert near(*rows) == {row_id: sorted(others) for row_id, others in expected.items()}


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("A dog.", "a  dog"),
        ("\uff25dit IT", "edit it!"),
        ("STRASSE", "straße"),
        ("\n a\tdog ", "a dog"),
    ],
)
def test_texts_that_differ_in_form_alone_are_one(text, same):
    assert normalise_text(text) == normalise_text(same)


@given(st.text())
def test_a_normalised_text_stays_as_it_is(text):
    assert normalise_text(normalise_text(text)) == normalise_text(text)


def scored(row_id, axis="execution", **more):
    row = {
        "row_id": row_id,
        "axis": axis,
        "instruction": "Make it red.",
        "report": "- colour: car: blue -> red",
        "reasoning": "The car is red.",
        "score": 4,
        "vote_spread": 0.0,
        "score_probs": None,
        "source_image": {"seen_sha256": "a", "colour": "00" * COLOUR_BYTES},
        "edited_image": {"seen_sha256": "b", "colour": "ff" * COLOUR_BYTES},
    }
    return {**row, **more}


def judged(rows, near):
    sets = {name: i for i, name in enumerate("abc")}
    near = {i: frozenset((i, *others)) for i, others in near.items()}
    known = NearRows(sets=sets, near=near, capped=0)
    gate = make_gate(known, read_benchmarks([]), Gates(), [])
    return [fault and fault[0] for fault in map(gate, rows)]


ALL_NEAR = {0: {1, 2}, 1: {0, 2}, 2: {0, 1}}


def test_of_near_rows_the_first_stands_on_each_axis():
    rows = [scored(i, axis) for i in ("a", "b") for axis in ("execution", "consistency")]
    assert judged(rows, ALL_NEAR) == [None, None, "gate:duplicate", "gate:duplicate"]


def test_the_first_that_passes_the_other_gates_stands():
    rows = [scored("a", reasoning="Red, as the checklist says."), scored("b"), scored("c")]
    assert judged(rows, ALL_NEAR) == ["gate:leak", None, "gate:duplicate"]


def test_what_is_near_to_a_rejected_duplicate_alone_stands():
    rows = [scored("a"), scored("b"), scored("c")]
    assert judged(rows, {0: {1}, 1: {0, 2}, 2: {1}}) == [None, "gate:duplicate", None]


def test_near_rows_with_different_scores_both_stand():
    rows = [scored("a"), scored("b", score=1), scored("c", score=1)]
    assert judged(rows, ALL_NEAR) == [None, None, "gate:duplicate"]


def test_a_picture_saved_anew_is_found_in_a_build_and_a_recoloured_one_is_not(tmp_path):
    picture = Image.effect_mandelbrot((96, 96), (-2, -1, 1, 1), 60).convert("RGB")
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.jpg", quality=90)
    recoloured = picture.copy()
    recoloured.paste((255, 0, 0), (0, 0, 24, 24))
    recoloured.save(tmp_path / "c.png")
    lines = [
        {"prompt": prompt, "image": image}
        for prompt, image in (
            ("A fractal.", "a.png"),
            ("a fractal", "b.jpg"),
            ("A fractal", "c.png"),
            ("Another prompt", "a.png"),
        )
    ]
    source = tmp_path / "rows.jsonl"
    source.write_text("\n".join(map(json.dumps, lines)))
    nobody = {"url": "http://127.0.0.1:1/v1", "model": "none"}
    recipe = GenRecipe.model_validate(
        {
            "output": str(tmp_path / "build"),
            "sources": {"kind": "jsonl", "path": str(source)},
            "endpoints": {"planner": nobody, "judge": nobody},
            "images": {"workers": 1},
        }
    )
    build = tmp_path / "build"
    ingest(recipe, build, n_buckets=2, validation_share=0)
    ids = {row["source_index"]: row["row_id"] for b in (0, 1) for row in read_rows(build, b)}
    result = near_rows_of(build, "gen", Gates())
    assert result.sets.keys() == {ids[0], ids[1]}
    assert result.sets[ids[1]] in result.near[result.sets[ids[0]]]
    assert near_rows_of(build, "gen", Gates(duplicate=False)).sets == {}
