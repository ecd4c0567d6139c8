"""Rows of ShapeWorld on disk: the factory can read them, and the truth stays beside them."""

import json
import math
from dataclasses import replace
from itertools import combinations
from random import Random

import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageChops, ImageStat
from shapeworld_cases import scene

from foundry.shapeworld.drawing import RGB, SIDE_PX, draw_scene, pattern_rgb
from foundry.shapeworld.make import app, main, write_world
from foundry.shapeworld.rows import (
    FIRST_RESERVED_SEED,
    MEASURED_BY_SHAPEBENCH,
    MEASURED_IN_TRAINING,
    SHOWN_BY_THE_DEMO,
)
from foundry.shapeworld.scenes import (
    BACKGROUNDS,
    COLOURS,
    NEAR_COLOURS,
    are_near,
    make_scene,
    random_scene,
)
from pipelines.ingest import ingest
from pipelines.recipe import EditRecipe, GenRecipe
from pipelines.replies import SCORES
from pipelines.rows import read_rows
from pipelines.sources import check_sources

COLUMNS = {
    "gen": {"id", "prompt", "image"},
    "edit": {"id", "source_image", "edited_image", "instruction"},
}


def rows_of(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module", params=["gen", "edit"])
def world(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    spread = write_world(request.param, 60, 5, folder)
    return request.param, folder, spread


def test_the_truth_stands_beside_the_rows_and_never_in_them(world):
    kind, folder, _ = world
    rows, truth = rows_of(folder), pq.read_table(folder / "truth.parquet")
    assert all(row.keys() == COLUMNS[kind] for row in rows)
    assert [row["id"] for row in rows] == truth["id"].to_pylist()
    assert len({row["id"] for row in rows}) == 60


def test_the_factory_reads_every_row(world, tmp_path):
    kind, folder, _ = world
    model = GenRecipe if kind == "gen" else EditRecipe
    endpoint = {"url": "http://127.0.0.1:9/v1", "model": "m"}
    roles = ("planner", "judge") if kind == "gen" else ("judge",)
    recipe = model.model_validate(
        {
            "output": str(tmp_path),
            "sources": {"kind": "jsonl", "path": str(folder / "rows.jsonl")},
            "endpoints": dict.fromkeys(roles, endpoint),
        }
    )
    check_sources(recipe)
    ingest(recipe, tmp_path, n_buckets=2, validation_share=0.1)
    found = [row for bucket in range(2) for row in read_rows(tmp_path, bucket)]
    assert {row["source_id"] for row in found} == {row["id"] for row in rows_of(folder)}
    assert {row["status"] for row in found} <= {"ok", "duplicate"}


def test_many_rows_are_written_in_batches_and_old_pictures_go(tmp_path, monkeypatch):
    monkeypatch.setattr("foundry.shapeworld.make.ROWS_AT_ONCE", 7)
    write_world("gen", 21, 1, tmp_path)
    assert len(list(tmp_path.rglob("*.jpg"))) == 21
    write_world("gen", 10, 2, tmp_path, unseen=True)
    assert pq.read_table(tmp_path / "truth.parquet")["id"].to_pylist() == [
        row["id"] for row in rows_of(tmp_path)
    ]
    assert len(list(tmp_path.rglob("*.jpg"))) == 10
    assert all("unseen" in row["id"] for row in rows_of(tmp_path))


@pytest.mark.parametrize("name", ["pq.ParquetWriter", "open", "_write_pictures"])
def test_a_call_that_was_cut_off_anywhere_does_not_bar_the_next(tmp_path, monkeypatch, name):
    def cut_off(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"foundry.shapeworld.make.{name}", cut_off, raising=False)
        with pytest.raises(KeyboardInterrupt):
            write_world("gen", 10, 1, tmp_path)
    write_world("gen", 10, 1, tmp_path)
    assert len(rows_of(tmp_path)) == pq.read_metadata(tmp_path / "truth.parquet").num_rows == 10


def test_all_scores_come_up(world):
    _, _, spread = world
    for counts in spread.values():
        assert sum(counts.values()) == 60
        assert all(counts[score] for score in SCORES)


def test_a_row_depends_on_its_seed_alone_and_not_on_how_many_are_made(world, tmp_path):
    kind, folder, _ = world
    write_world(kind, 10, 5, tmp_path / "few")
    assert rows_of(tmp_path / "few") == rows_of(folder)[:10]
    for picture in (tmp_path / "few").rglob("*.jpg"):
        same = folder / picture.relative_to(tmp_path / "few")
        assert picture.read_bytes() == same.read_bytes()
    write_world(kind, 10, 6, tmp_path / "other")
    texts = [list(row.values())[1] for row in rows_of(tmp_path / "other")]
    assert texts != [list(row.values())[1] for row in rows_of(folder)[:10]]


def test_nuisance_changes_a_picture_less_than_another_thing_does():
    base = scene("white", "large red circle centre", "small navy star top left")
    other = scene("white", "large blue circle centre", "small navy star top left")

    def apart(a, b):
        pictures = [draw_scene(s, Random(d)).resize((48, 48)) for s, d in (a, b)]
        return sum(ImageStat.Stat(ImageChops.difference(*pictures)).mean)

    nuisance = apart((base, 1), (base, 2))
    assert 0 < nuisance < apart((base, 1), (other, 2))
    sizes = {draw_scene(base, Random(d)).size for d in range(8)}
    assert len(sizes) > 1
    assert all(abs(w - SIDE_PX) <= 6 and w == h for w, h in sizes)


def distance(a, b):
    """CIE76 colour difference of two sRGB colours."""
    return math.dist(_lab(a), _lab(b))


def _lab(rgb):
    linear = [((v / 255 + 0.055) / 1.055) ** 2.4 if v > 10 else v / 255 / 12.92 for v in rgb]
    weights = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(w * v for w, v in zip(row, linear, strict=True)) for row in weights]
    x, y, z = (
        t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116
        for t in (v / white for v, white in zip(xyz, (0.9505, 1.0, 1.089), strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_near_colours_look_nearer_than_all_others():
    near = [distance(RGB[a], RGB[b]) for a, b in NEAR_COLOURS]
    far = [distance(RGB[a], RGB[b]) for a, b in combinations(COLOURS, 2) if not are_near(a, b)]
    assert max(near) < 0.8 * min(far)


def test_things_and_their_patterns_stand_out_from_every_background():
    for colour in COLOURS:
        assert distance(RGB[colour], pattern_rgb(colour)) > 20
        for ground in BACKGROUNDS:
            assert distance(RGB[colour], RGB[ground]) > 30
            assert distance(pattern_rgb(colour), RGB[ground]) > 20


def test_every_thing_stands_in_its_cell_in_its_colour():
    dice = Random(4)
    for _ in range(20):
        picked = random_scene(dice, unseen=True)
        plain = [replace(t, pattern="plain", lean=None) for t in picked.things]
        picture = draw_scene(make_scene(picked.background, plain), dice)
        for thing in plain:
            at = [int((n + 0.5) * picture.width / 3) for n in (thing.cell % 3, thing.cell // 3)]
            seen = picture.getpixel(tuple(at))
            assert min(COLOURS, key=lambda c: distance(RGB[c], seen)) == thing.colour


def test_what_leans_is_partly_hidden_by_what_it_leans_behind():
    alone = scene("white", "red square left", "large blue circle centre")
    red, blue = alone.things
    hidden = make_scene("white", [replace(red, lean=blue.cell), blue])

    def reds(picture):
        return sum(r > 180 and g < 90 and b < 90 for r, g, b in picture.get_flattened_data())

    full, part = (reds(draw_scene(s, Random(3))) for s in (alone, hidden))
    assert 0.4 * full < part < 0.9 * full


def test_a_folder_that_cannot_be_written_is_told_without_a_trace(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main("gen", rows=2, out=tmp_path / "file") == 1
    assert "cannot be written" in capsys.readouterr().err


def test_the_pictures_are_real_jpegs(world):
    _, folder, _ = world
    for path in list(folder.rglob("*.jpg"))[:5]:
        with Image.open(path) as picture:
            assert picture.format == "JPEG"
            picture.load()


@pytest.mark.parametrize("name", ["pictures/holiday.jpg", "rows.jsonl"])
def test_what_somebody_else_made_is_not_removed(tmp_path, name):
    kept = tmp_path / name
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(b"x")
    with pytest.raises(FileExistsError, match="another kind"):
        write_world("gen", 10, 1, tmp_path)
    assert kept.read_bytes() == b"x"


def test_seeds_that_are_for_measuring_are_refused(tmp_path, capsys):
    words = ["--rows", "4", "--seed", str(FIRST_RESERVED_SEED), "--out", str(tmp_path / "x")]
    with pytest.raises(SystemExit):
        app(["gen", *words])
    told = capsys.readouterr()
    assert "--seed" in told.err + told.out
    assert not (tmp_path / "x").exists()


def test_rows_to_measure_and_to_show_are_not_those_of_training():
    reserved = (MEASURED_IN_TRAINING, MEASURED_BY_SHAPEBENCH, SHOWN_BY_THE_DEMO)
    assert len(set(reserved)) == 3
    assert min(reserved) >= FIRST_RESERVED_SEED
