"""Reading benchmarks: layouts, mapped columns, and what a person is told of a bad line."""

import base64
import io
import json
import shutil
import tracemalloc
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bench_cases import edit_line, editreward, firm_edit, firm_gen, gen_line, gen_pairs, write_lines
from dataset_cases import picture
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foundry.evals.bench import wanted_axes
from foundry.evals.bench_files import BenchRefused, Line, read_lines
from foundry.evals.firm_bench import read_firm_bench_edit, read_firm_bench_gen
from foundry.evals.pair_benches import read_editreward_bench, read_pairwise
from foundry.evals.published import published

# No picture stands in a file, unless a test says so.
PAIRS = {"image_root": None, "pictures": Path("nowhere")}
PLACES = {"scores": None, **PAIRS}
GENAI = {"first_image": "left_image", "second_image": "right_image", "choice": "vote_type"}
VOTES = {"first": ["leftvote"], "second": ["rightvote"], "tie": ["tievote", "bothbad_vote"]}


def refusal(read, *args, **more):
    with pytest.raises(BenchRefused) as caught:
        read(*args, **more)
    return str(caught.value)


def test_firm_bench_edit_joins_scores_from_their_own_file(tmp_path):
    rows, items = read_firm_bench_edit(firm_edit(tmp_path, rows=5), {}, **PLACES)
    assert list(rows.by_id) == [f"e{n}" for n in range(5)]
    found = {(item.row, item.axis): item.true for item in items}
    assert found["e0", "execution"] == 1
    assert found["e0", "consistency"] == 5
    # The fourth has a score on one axis alone, and is asked about that one.
    assert ("e3", "consistency") not in found
    assert wanted_axes(items)["e3"] == ("execution",)
    assert wanted_axes(items)["e0"] == ("execution", "consistency")


def test_every_name_can_be_mapped_and_reach_into_what_a_column_holds(tmp_path):
    line = edit_line(tmp_path, 1)
    mapped = {"key": 7, "text": line["instruction"], "human": {"exec": 4, "cons": 2}}
    mapped["pictures"] = [line["source_image"], {"path": line["edited_image"]}]
    columns = {"id": "key", "instruction": "text", "source_image": "pictures.0"}
    columns |= {"edited_image": "pictures.1", "execution": "human.exec"}
    columns |= {"consistency": "human.cons"}
    file = write_lines(tmp_path / "rows.jsonl", [mapped])
    rows, items = read_firm_bench_edit(file, columns, **PLACES)
    assert rows.by_id["7"]["edited_image"] == str(tmp_path / "edited-1.png")
    assert {item.id: item.true for item in items} == {"7:execution": 4, "7:consistency": 2}


def test_a_score_may_stand_beside_the_name_of_its_axis(tmp_path):
    lines = [edit_line(tmp_path, n, axis="consistency", score=2.0) for n in range(2)]
    _, items = read_firm_bench_edit(write_lines(tmp_path / "a.jsonl", lines), {}, **PLACES)
    assert [(item.axis, item.true) for item in items] == [("consistency", 2)] * 2


def test_firm_bench_gen_has_parts_by_difficulty_and_groups_by_prompt(tmp_path):
    _, items = read_firm_bench_gen(firm_gen(tmp_path, rows=4), {}, **PLACES)
    assert [item.part for item in items] == ["easy", "hard", "easy", "hard"]
    assert items[0].group == items[1].group != items[2].group


def test_edits_are_grouped_by_what_their_source_picture_is_and_not_by_its_name(tmp_path):
    lines = [edit_line(tmp_path, n, execution=3) for n in range(3)]
    shutil.copy(tmp_path / "source-0.png", tmp_path / "copy.png")
    inside = base64.b64encode((tmp_path / "source-0.png").read_bytes()).decode()
    lines[1]["source_image"], lines[2]["source_image"] = "copy.png", inside
    lines.append(edit_line(tmp_path, 3, execution=3))
    places = {**PLACES, "pictures": tmp_path / "pictures"}
    _, items = read_firm_bench_edit(write_lines(tmp_path / "a.jsonl", lines), {}, **places)
    assert len({item.group for item in items[:3]}) == 1
    assert items[3].group != items[0].group
    columns = {"instruction": "instruction", "source_image": "source_image"}
    columns |= {"first_image": "edited_image", "second_image": "edited_image"}
    lines = [{**line, "choice": "first"} for line in lines]
    file = write_lines(tmp_path / "b.jsonl", lines)
    del places["scores"]
    _, pairs = read_pairwise(file, columns, choices={}, **places)
    assert len({pair.group for pair in pairs[:3]}) == 1
    assert pairs[3].group != pairs[0].group


def test_editreward_bench_prefers_the_first_and_knows_three_dimensions(tmp_path):
    rows, pairs = read_editreward_bench(editreward(tmp_path, rows=3), {}, **PAIRS)
    assert [pair.axis for pair in pairs] == ["execution", "consistency", "overall"]
    assert {pair.human for pair in pairs} == {"first"}
    assert pairs[0].id == "k0a+k0b"
    assert rows.by_id[pairs[0].first]["edited_image"] == str(tmp_path / "a-0.png")
    assert rows.by_id[pairs[0].second]["edited_image"] == str(tmp_path / "b-0.png")
    # Overall is of both axes.
    assert wanted_axes(pairs)[pairs[2].first] == ("execution", "consistency")


def test_pairs_map_columns_and_choices(tmp_path):
    _, pairs = read_pairwise(gen_pairs(tmp_path, rows=5), GENAI, choices=VOTES, **PAIRS)
    assert [pair.human for pair in pairs] == ["first", "second", "tie", "second", "tie"]
    assert {pair.axis for pair in pairs} == {"gen"}


def test_pairs_of_edits_are_told_by_their_mapped_columns(tmp_path):
    lines = [edit_line(tmp_path, n, choice="second", other=f"source-{n}.png") for n in range(2)]
    columns = {"instruction": "instruction", "source_image": "source_image"}
    columns |= {"first_image": "edited_image", "second_image": "other"}
    file = write_lines(tmp_path / "a.jsonl", lines)
    rows, pairs = read_pairwise(file, columns, choices={}, **PAIRS)
    assert rows.kind == "edit"
    assert [(pair.axis, pair.human) for pair in pairs] == [("overall", "second")] * 2


def test_a_parquet_file_with_pictures_inside_is_read(tmp_path):
    out = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(out, "PNG")
    inside = {"bytes": out.getvalue(), "path": None}
    line = {"prompt": "Red.", "image": inside, "score": 5, "difficulty": "easy"}
    pq.write_table(pa.Table.from_pylist([line]), tmp_path / "a.parquet")
    places = {**PLACES, "pictures": tmp_path / "pictures"}
    rows, items = read_firm_bench_gen(tmp_path / "a.parquet", {}, **places)
    assert Path(rows.by_id["1"]["image"]).read_bytes() == out.getvalue()
    assert items[0].true == 5


def test_memory_does_not_grow_with_the_pictures_inside_a_file(tmp_path):
    size, lines = 200_000, 200
    head, dice = b"\x89PNG\r\n\x1a\n", Random(0)
    with open(tmp_path / "a.jsonl", "w") as file:
        for n in range(lines):
            inside = base64.b64encode(head + dice.randbytes(size)).decode()
            line = {"prompt": f"{n}", "image": inside, "score": 5, "unused": inside}
            file.write(json.dumps(line) + "\n")
    tracemalloc.start()
    places = {**PLACES, "pictures": tmp_path / "pictures"}
    rows, _ = read_firm_bench_gen(tmp_path / "a.jsonl", {}, **places)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len({Path(row["image"]) for row in rows.by_id.values()}) == lines
    assert all(Path(row["image"]).stat().st_size == size + 8 for row in rows.by_id.values())
    assert peak < 20 * size < lines * size


def test_one_picture_inside_several_lines_is_one_file(tmp_path):
    inside = base64.b64encode(picture(1)).decode()
    lines = [
        {"prompt": "a", "image": inside, "score": 3},
        {"prompt": "b", "image": f"data:image/png;base64,{inside}", "score": 3},
        {"prompt": "c", "image": {"bytes": inside, "path": "not/there.png"}, "score": 3},
    ]
    places = {**PLACES, "pictures": tmp_path / "pictures"}
    rows, _ = read_firm_bench_gen(write_lines(tmp_path / "a.jsonl", lines), {}, **places)
    assert len({row["image"] for row in rows.by_id.values()}) == 1


@pytest.mark.parametrize(
    ("change", "column", "words"),
    [
        ({"image": "gone.png"}, "'image'", "no such picture: 'gone.png'"),
        ({"image": None}, "'image'", "no picture"),
        ({"image": "../../outside.png"}, "'image'", "leads out of"),
        ({"image": 4}, "'image'", "neither bytes nor a path"),
        ({"image": "data:image/png;base64,%"}, "'image'", "not base64"),
        ({"prompt": " "}, "'prompt'", "no text"),
        ({"score": 6}, "'score'", "6 is not a score: a whole number, 1 to 5"),
        ({"score": 0}, "'score'", "0 is not a score"),
        ({"score": 3.5}, "'score'", "3.5 is not a score"),
        ({"score": True}, "'score'", "True is not a score"),
        ({"score": None}, "'score'", "nothing is not a score"),
        ({"id": 0}, "'id'", "'0' stands in line 1 already"),
    ],
)
def test_a_bad_line_is_told_by_file_line_and_column(tmp_path, change, column, words):
    lines = [gen_line(tmp_path, n, score=3, difficulty="easy") for n in range(4)]
    lines[2] |= change
    file = write_lines(tmp_path / "gen.jsonl", lines)
    # A blank line is none, and counts all the same.
    file.write_text("\n" + file.read_text())
    told = refusal(read_firm_bench_gen, file, {}, **PLACES)
    assert f"{file}, line 4, column {column}: " in told
    assert words in told.replace("line 2 already", "line 1 already")


def test_a_mapped_column_is_named_as_the_file_has_it(tmp_path):
    lines = [gen_line(tmp_path, n, stars=9) for n in range(2)]
    file = write_lines(tmp_path / "gen.jsonl", lines)
    told = refusal(read_firm_bench_gen, file, {"score": "stars"}, **PLACES)
    assert told.startswith(f"{file}, line 1, column 'stars' (score): 9 is not a score")


def test_an_unknown_column_names_those_that_there_are(tmp_path):
    file = firm_gen(tmp_path, rows=2)
    told = refusal(read_firm_bench_gen, file, {"score": "stars"}, **PLACES)
    assert f"{file}: no column 'stars'; there are ['difficulty', 'id'," in told
    told = refusal(read_firm_bench_gen, file, {"scores": "score"}, **PLACES)
    assert told.startswith("--column scores=...: no such column; there are ['difficulty', 'id',")
    lines = [gen_line(tmp_path, n) for n in range(2)]
    file = write_lines(tmp_path / "bare.jsonl", lines)
    told = refusal(read_firm_bench_gen, file, {}, **PLACES)
    assert "no column 'score'; --column score=NAME says what it is called" in told


def test_a_file_that_is_none_is_told(tmp_path):
    assert "no such file" in refusal(read_firm_bench_gen, tmp_path / "x.jsonl", {}, **PLACES)
    (tmp_path / "empty.jsonl").write_text("\n")
    assert "no lines" in refusal(read_firm_bench_gen, tmp_path / "empty.jsonl", {}, **PLACES)
    (tmp_path / "cut.jsonl").write_text('{"a": 1}\n{"a":')
    told = refusal(read_firm_bench_gen, tmp_path / "cut.jsonl", {}, **PLACES)
    assert f"{tmp_path / 'cut.jsonl'}, line 2: " in told


def test_rows_and_scores_must_belong_together(tmp_path):
    firm_edit(tmp_path, rows=3)
    scores = tmp_path / "result" / "human_bench_v1.jsonl"
    good = [{"id": f"e{n}", "execution": 3} for n in range(3)]
    write_lines(scores, good[:2])
    told = refusal(read_firm_bench_edit, tmp_path, {}, **PLACES)
    assert told == f"{tmp_path / 'bench_v1.jsonl'}, line 3: no human score of this row in {scores}"
    write_lines(scores, [*good, {"id": "e9", "execution": 3}])
    assert "line 4, column 'id' (score_id): no row 'e9'" in refusal(
        read_firm_bench_edit, tmp_path, {}, **PLACES
    )
    write_lines(scores, [*good, {"id": "e1", "execution": 4}])
    assert "row 'e1' has a score of its execution already" in refusal(
        read_firm_bench_edit, tmp_path, {}, **PLACES
    )


def test_an_unknown_dimension_or_choice_is_told(tmp_path):
    file = editreward(tmp_path, rows=2)
    file.write_text(file.read_text().replace("prompt_following", "beauty"))
    told = refusal(read_editreward_bench, file, {}, **PAIRS)
    assert "line 1, column 'dimension': 'beauty' is none of prompt_following, consistency" in told
    file = gen_pairs(tmp_path, rows=4)
    told = refusal(read_pairwise, file, GENAI, choices={"first": ["leftvote"]}, **PAIRS)
    assert "line 2, column 'vote_type' (choice): 'rightvote' is none of ['leftvote'" in told
    told = refusal(read_pairwise, file, GENAI, choices={"left": ["leftvote"]}, **PAIRS)
    assert "a choice is one of first, second, tie" in told
    twice = {"first": ["leftvote"], "second": ["leftvote"]}
    told = refusal(read_pairwise, file, GENAI, choices=twice, **PAIRS)
    assert "'leftvote' is given two meanings" in told


def test_a_choice_that_is_called_as_another_one_means_what_was_said(tmp_path):
    lines = [edit_line(tmp_path, n, choice="second", other=f"source-{n}.png") for n in range(2)]
    columns = {"instruction": "instruction", "source_image": "source_image"}
    columns |= {"first_image": "edited_image", "second_image": "other"}
    file = write_lines(tmp_path / "a.jsonl", lines)
    _, pairs = read_pairwise(file, columns, choices={"first": ["second"]}, **PAIRS)
    assert [pair.human for pair in pairs] == ["first", "first"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, st.text(max_size=8))
def test_whatever_a_column_holds_is_a_score_or_refused_in_words(value, name):
    line = Line(file="f", number=1, values={"score": value}, columns={"score": "score", "x": name})
    line.value("x")
    for read in (line.score, line.text, line.name):
        try:
            found = read("score")
        except BenchRefused as error:
            found = str(error)
        told = str(found).startswith("f, line 1, column 'score': ")
        assert told or found in (1, 2, 3, 4, 5) or found == str(value)


def test_lines_are_numbered_by_their_place_in_the_file(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('\n{"a": 1}\n\n{"a": 2}\n')
    assert [line.number for line in read_lines(file, {}, needed=("a",), pictures=file)] == [2, 4]


def test_published_tables_have_a_source_and_a_figure_a_column():
    for bench in ("firm_bench_edit", "firm_bench_gen", "editreward_bench", "pairwise"):
        table = published(bench)
        assert "arXiv:" in table["source"]
        assert all(len(figures) == len(table["columns"]) for figures in table["models"].values())
    assert published("shapebench") is None
