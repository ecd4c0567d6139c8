"""The demo's rows: the committed ones are what the script draws."""

import json
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from foundry.shapeworld.demo_rows import main, true_scores, write_demo_rows

COMMITTED = Path(__file__).parent.parent / "examples" / "demo"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    assert main([str(folder)]) == 0
    return folder


def test_a_folder_that_cannot_be_is_told_in_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main([str(tmp_path / "file")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def names(folder):
    return {
        str(p.relative_to(folder)) for half in ("gen", "edit") for p in (folder / half).iterdir()
    }


def test_the_committed_rows_are_what_the_script_draws(drawn):
    assert names(drawn) == names(COMMITTED)
    for name in ("gen/metadata.jsonl", "edit/rows.jsonl"):
        assert (drawn / name).read_bytes() == (COMMITTED / name).read_bytes()
    for name in names(drawn):
        if name.endswith(".jpg") and "cut-short" not in name:
            # Pixels, not bytes, and nearly: another libjpeg may round otherwise.
            with Image.open(drawn / name) as ours, Image.open(COMMITTED / name) as theirs:
                assert ours.size == theirs.size
                blocks = ImageChops.difference(ours.reduce(8), theirs.reduce(8))
                assert max(most for _, most in blocks.getextrema()) < 8, name


def test_two_runs_write_the_same_bytes(drawn, tmp_path):
    write_demo_rows(tmp_path)
    for name in names(drawn):
        assert (drawn / name).read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("half", ["gen", "edit"])
def test_each_half_has_one_picture_that_is_cut_short(half):
    path = COMMITTED / half / "cut-short.jpg"
    with Image.open(path) as picture, pytest.raises(OSError, match="truncated"):
        picture.load()


def test_each_half_has_one_row_that_repeats_another():
    gen = rows(COMMITTED / "gen" / "metadata.jsonl")
    seen = [((COMMITTED / "gen" / r["file_name"]).read_bytes(), r["prompt"]) for r in gen]
    assert len(seen) - len(set(seen)) == 1
    edit = [tuple(row.values()) for row in rows(COMMITTED / "edit" / "rows.jsonl")]
    assert len(edit) - len(set(edit)) == 1


def test_work_can_be_shared_between_rows():
    gen = rows(COMMITTED / "gen" / "metadata.jsonl")
    edit = rows(COMMITTED / "edit" / "rows.jsonl")
    assert len(gen) == len(edit) == 20
    assert len({row["prompt"] for row in gen}) == 5
    pairs = {(row["source"], row["edited"]) for row in edit}
    assert len(pairs) < len(edit) - 1


def test_the_rows_are_small():
    files = [p for half in ("gen", "edit") for p in (COMMITTED / half).iterdir()]
    assert sum(p.stat().st_size for p in files) < 300_000
    for path in files:
        if path.suffix == ".jpg":
            with Image.open(path) as picture:
                assert 180 < min(picture.size) <= max(picture.size) < 200


def test_the_true_scores_are_those_of_the_rows_in_the_order_of_their_files():
    gen, edit = true_scores("gen"), true_scores("edit")
    assert len(gen) == len(edit) == 20
    named = [row["file_name"] for row in rows(COMMITTED / "gen" / "metadata.jsonl")]
    # Looked at: it has the grey triangle that its prompt forbids, and is right but for it.
    assert gen[named.index("09.jpg")] == {"score": 4}
    # Looked at: three diamonds are purple instead of violet.
    assert edit[2]["execution"] == 4
    assert named.index("repeated.jpg") == 18
    assert gen[18] == gen[0]
    # Rows 1 and 15 have one pair, and each the instruction of the other.
    crossed = rows(COMMITTED / "edit" / "rows.jsonl")[14]
    assert crossed["edited"] == "1a.jpg"
    assert edit[14]["execution"] < edit[0]["execution"]
