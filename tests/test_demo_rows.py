"""The demo's rows: the committed ones are what the script draws."""

import json
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from flows.demo import beside_truth
from foundry.shapeworld.demo_rows import main, true_replies, write_demo_rows

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


def test_the_true_replies_are_those_of_the_rows_in_the_order_of_their_files():
    gen, edit = true_replies("gen"), true_replies("edit")
    assert len(gen) == len(edit) == 20
    named = [row["file_name"] for row in rows(COMMITTED / "gen" / "metadata.jsonl")]
    # Looked at: it has the grey triangle that its prompt forbids, and is right but for it.
    reasoning = "There is something grey. In all one requirement is not met."
    assert gen[named.index("09.jpg")] == {"score": {"score": 4, "reasoning": reasoning}}
    # Looked at: three diamonds are purple instead of violet.
    assert edit[2]["execution"]["score"] == 4
    assert named.index("repeated.jpg") == 18
    assert gen[18] == gen[0]


def test_a_pair_with_the_instruction_of_another_edit_has_the_truth_of_that_instruction():
    edits, true = rows(COMMITTED / "edit" / "rows.jsonl"), true_replies("edit")
    pairs = [(row["source"], row["edited"]) for row in edits]
    for i in range(14, 18):
        first = pairs.index(pairs[i])
        assert edits[i]["instruction"] != edits[first]["instruction"]
        assert edits[i]["instruction"] in [r["instruction"] for r in edits[:14]]
    # Looked at: the circle was to go to the top left, and stands below that place.
    assert edits[14]["edited"] == "2a.jpg"
    assert true[14]["execution"]["score"] == 3
    assert "it is at the middle left" in true[14]["execution"]["reasoning"]


def beside(*told):
    """What the demo prints of rows of the first edit's execution, so many points off."""
    right = true_replies("edit")[0]["execution"]
    row = {
        "row_id": "a",
        "source_index": 0,
        "axis": "execution",
        "instruction": "x",
        "report": "y",
        "score_probs": None,
        "vote_scores": [1],
        "source": "s",
        "model": "m",
        "prompt_id": "p",
        "prompt_sha256": "0" * 64,
        "attempts": 1,
        "completion_tokens": 1,
    }
    texts = [{"score": right["score"] - off, "reasoning": reasoning} for off, reasoning in told]
    return beside_truth([{**row, **text} for text in texts], "edit")


def test_a_right_score_for_a_wrong_reason_is_not_shown_as_a_row_scored_rightly():
    right = true_replies("edit")[0]["execution"]
    text = beside((0, "guessed"), (0, right["reasoning"]), (1, "off"))
    assert text.startswith("a row scored rightly: ")
    assert text.index(right["reasoning"].split(";")[0]) < text.index("the worst")
    assert "guessed" not in text
    assert "Of 3 scores 2 are the true ones, 1 are one off, 0 more." in text
    assert "for another reason" in beside((0, "guessed"))
    assert "scored rightly" not in beside((1, right["reasoning"]))
    assert beside() == "no finished row"
