"""Rows that a benchmark holds too, by their words and by their pictures."""

import json

import pytest
from PIL import Image

from pipelines.dataset_settings import Gates
from pipelines.gates.build_gates import make_gate
from pipelines.gates.contamination import GRAM_WORDS, make_lookup, read_benchmarks
from pipelines.gates.duplicates import NOTHING_NEAR
from pipelines.picture_hash import colour_signature, perceptual_hash
from pipelines.recipe import EditRecipe
from pipelines.settings import Source
from pipelines.sources import SourceError, check_sources

LONG = "A red kite over nine green hills in the evening light"


def benchmark(folder, *lines, **columns):
    path = folder / "bench.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return Source(kind="jsonl", path=str(path), name="bench", columns=columns)


def fractal():
    return Image.effect_mandelbrot((96, 96), (-2, -1, 1, 1), 60).convert("RGB")


def picture(image):
    return {"phash": perceptual_hash(image), "colour": colour_signature(image)}


def found_in(sources, row):
    return make_lookup(read_benchmarks(sources), most_bits=7, most_colour=12)(row)


def found(source, row):
    return next(iter(found_in([source], row)), None)


@pytest.mark.parametrize(
    ("prompt", "matches"),
    [
        ("A dog.", True),
        ("a  DOG", True),
        ("A dog on a lawn", False),
        (LONG, True),
        (f"Photo: {LONG.upper()}, 4k", True),
        (" ".join(LONG.split()[:GRAM_WORDS]), True),
        (" ".join(LONG.split()[: GRAM_WORDS - 1]), False),
    ],
)
def test_a_prompt_matches_as_a_whole_or_by_eight_words_in_a_row(tmp_path, prompt, matches):
    source = benchmark(tmp_path, {"t": "A dog"}, {"t": LONG}, prompt="t")
    assert bool(found(source, {"prompt": prompt})) == matches


def test_a_match_says_where_it_was_found(tmp_path):
    source = benchmark(tmp_path, {"t": "A cat", "n": 7}, {"t": "A dog", "n": 8}, prompt="t", id="n")
    match = found(source, {"prompt": "a dog"})
    assert (match.benchmark, match.item, match.what) == ("bench", "8", "prompt")


def test_an_instruction_matches_when_most_of_it_is_long_and_the_same(tmp_path):
    long = "Change the background of the image to a beach at sunset"
    source = benchmark(tmp_path, {"t": "Remove the dog"}, {"t": long}, instruction="t")
    assert found(source, {"instruction": "Remove the dog"}) is None
    assert found(source, {"instruction": long})
    other = "Change the background of the image to a snowy street with many people"
    assert found(source, {"instruction": other}) is None


def test_words_are_counted_in_any_script(tmp_path):
    hindi = "\u0932\u093e\u0932 \u0930\u0902\u0917 \u0915\u0940 \u0917\u093e\u0921\u093c\u0940"
    chinese = "\u4e00\u53ea\u7ea2\u8272\u7684\u98ce\u7b5d\u98de\u8fc7\u5c71"
    source = benchmark(tmp_path, {"t": f"{hindi} x"}, {"t": chinese}, prompt="t")
    assert found(source, {"prompt": hindi}) is None
    assert found(source, {"prompt": f"\u56fe\uff1a{chinese}"})


def test_an_empty_value_of_a_benchmark_is_left_out(tmp_path):
    source = benchmark(tmp_path, {"t": ""}, {"t": "A dog"}, prompt="t")
    assert found(source, {"prompt": "a dog"})


def test_a_picture_matches_whatever_its_role(tmp_path):
    fractal().save(tmp_path / "x.jpg", quality=85)
    source = benchmark(tmp_path, {"p": "x.jpg"}, image="p")
    other = Image.effect_noise((96, 96), 80).convert("RGB")
    row = {"instruction": "Zoom in", "source_image": picture(other)}
    assert found(source, {**row, "edited_image": picture(other)}) is None
    match = found(source, {**row, "edited_image": picture(fractal())})
    assert (match.item, match.what) == ("0", "image")


def test_a_recoloured_picture_is_another_one(tmp_path):
    fractal().save(tmp_path / "x.png")
    source = benchmark(tmp_path, {"p": "x.png"}, image="p")
    recoloured = fractal()
    recoloured.paste((255, 0, 0), (0, 0, 24, 24))
    assert found(source, {"prompt": "x", "image": picture(recoloured)}) is None


def test_without_benchmarks_nothing_matches():
    assert found_in([], {"prompt": "a dog", "image": picture(fractal())}) == []


def test_each_benchmark_that_holds_a_row_is_named_once(tmp_path):
    fractal().save(tmp_path / "x.png")
    sources = []
    for name, lines, columns in (
        ("first", [{"t": "A cat"}, {"t": LONG}], {"prompt": "t"}),
        ("second", [{"t": LONG, "p": "x.png"}], {"prompt": "t", "image": "p"}),
        ("third", [{"t": "A kite"}], {"prompt": "t"}),
        # Another file of the first: one benchmark.
        ("first", [{"t": LONG}], {"prompt": "t"}),
    ):
        (tmp_path / str(len(sources))).mkdir()
        source = benchmark(tmp_path / str(len(sources)), *lines, **columns)
        root = {"name": name, "image_root": str(tmp_path)}
        sources.append(source.model_copy(update=root))
    matches = found_in(sources, {"prompt": LONG, "image": picture(fractal())})
    assert [(m.benchmark, m.item, m.what) for m in matches] == [
        ("first", "1", "prompt"),
        ("second", "0", "prompt"),
    ]


def test_a_row_that_another_gate_rejects_is_looked_up_as_well(tmp_path):
    gates = Gates(benchmarks=(benchmark(tmp_path, {"t": "A dog"}, prompt="t"),))
    matches = []
    gate = make_gate(NOTHING_NEAR, read_benchmarks(gates.benchmarks), gates, matches)
    row = {
        "row_id": "r0",
        "axis": None,
        "prompt": "A dog",
        "checklist": [{"kind": "subject", "question": "Is there a dog?", "critical": True}],
        "verdicts": [{"verdict": "yes"}],
        "reasoning": "A dog stands on a lawn.",
        "score": 5,
        "vote_spread": 0.0,
        "score_probs": None,
    }
    leaking = row | {"row_id": "r1", "reasoning": "A dog, as the checklist says."}
    reasons = [gate(one)[0] for one in (row, leaking)]
    assert reasons == ["gate:contamination", "gate:leak"]
    assert [(match["row_id"], match["benchmark"]) for match in matches] == [
        ("r0", "bench"),
        ("r1", "bench"),
    ]


def test_a_benchmark_that_cannot_be_read_is_refused_by_row(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    source = benchmark(tmp_path, {"p": "broken.png"}, image="p")
    with pytest.raises(SourceError, match="bench, row 0, image"):
        read_benchmarks([source])


@pytest.mark.parametrize("columns", [{}, {"id": "n"}, {"text": "t"}])
def test_a_benchmark_must_say_what_it_has(columns):
    with pytest.raises(ValueError, match="columns"):
        Gates(benchmarks=({"kind": "jsonl", "path": "x", "columns": columns},))


def test_a_benchmark_is_checked_before_anything_starts(tmp_path):
    picture_file = tmp_path / "x.png"
    fractal().save(picture_file)
    line = {"source_image": "x.png", "edited_image": "x.png", "instruction": "Zoom"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(line))
    recipe = {
        "output": "b",
        "sources": {"kind": "jsonl", "path": str(tmp_path / "rows.jsonl")},
        "endpoints": {"judge": {"url": "http://127.0.0.1:1/v1", "model": "none"}},
    }
    check_sources(EditRecipe.model_validate(recipe))
    gone = {"kind": "jsonl", "path": str(tmp_path / "gone.jsonl"), "columns": {"prompt": "t"}}
    with pytest.raises(SourceError, match=r"gone\.jsonl"):
        check_sources(EditRecipe.model_validate(recipe | {"gates": {"benchmarks": [gone]}}))
