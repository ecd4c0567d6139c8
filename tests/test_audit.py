"""The audit's sample, page data and reading back: even, blind, and true to hand-made cases."""

import json
import math
import shutil
from collections import Counter

import numpy as np
import pytest
from dataset_cases import make_row, picture, write_build
from PIL import Image
from report_cases import empty_pictures, finished_build, lose_files

from flows.audit import main
from foundry.evals.metrics import mae, quadratic_kappa
from pipelines.audit.page import make_page, picture_url
from pipelines.audit.rubrics import axes_of, rubric
from pipelines.audit.sample import allocate, draw_sample
from pipelines.build import PICTURES
from pipelines.dataset_reading import open_dataset, read_groups
from pipelines.rendering import AXES
from pipelines.script_data import embed_json


@pytest.fixture
def gen(tmp_path):
    """Rows of generated pictures, most of them fives."""
    scores = [1] * 2 + [2] * 3 + [3] * 5 + [4] * 10 + [5] * 40
    rows = [make_row("gen", i, score=score) for i, score in enumerate(scores)]
    return write_build(tmp_path / "gen", "gen", rows)


@pytest.fixture
def edit(tmp_path):
    rows = [
        make_row("edit", i, axis=axis, score=1 + (i + (axis == AXES[1])) % 5)
        for i in range(20)
        for axis in AXES
    ]
    return write_build(tmp_path / "edit", "edit", rows)


def draw(build, **more):
    return draw_sample(open_dataset(build), **{"rows": 20, "seed": 0, **more})


def scores_of(build):
    groups = read_groups(open_dataset(build).paths, ["row_id", "axis", "score"])
    return {(row["row_id"], row.get("axis")): row["score"] for _, _, rows in groups for row in rows}


# The sample.


@pytest.mark.parametrize(
    ("total", "sizes", "wanted"),
    [
        (10, [9, 9, 9, 9, 9], [2, 2, 2, 2, 2]),
        (12, [9, 9, 9, 9, 9], [3, 3, 2, 2, 2]),
        (10, [0, 1, 9, 9, 9], [0, 1, 3, 3, 3]),
        (10, [1, 1, 1, 1, 100], [1, 1, 1, 1, 6]),
        (50, [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),
        (10, [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
    ],
)
def test_a_sample_is_as_even_as_the_build_allows(total, sizes, wanted):
    assert list(allocate(total, dict(enumerate(sizes))).values()) == wanted


def test_rare_scores_are_drawn_as_often_as_common_ones(gen):
    sample, scores = draw(gen), scores_of(gen)
    drawn = Counter(scores[row.row_id, row.axis] for row in sample.rows)
    assert drawn == {1: 2, 2: 3, 3: 5, 4: 5, 5: 5}
    assert len({row.row_id for row in sample.rows}) == 20
    assert {s.score: s.weight for s in sample.strata} == {1: 1, 2: 1, 3: 1, 4: 2, 5: 8}


def test_each_axis_gets_half_and_all_scores(edit):
    sample, scores = draw(edit), scores_of(edit)
    drawn = Counter((row.axis, scores[row.row_id, row.axis]) for row in sample.rows)
    assert drawn == {(axis, score): 2 for axis in AXES for score in range(1, 6)}
    assert [row.axis for row in sample.rows] == [AXES[0]] * 10 + [AXES[1]] * 10


def test_the_sample_is_the_seeds_and_not_the_files(gen, tmp_path):
    sample = draw(gen)
    assert draw(gen).to_json() == sample.to_json()
    other = draw(gen, seed=1)
    assert other.id != sample.id
    assert {row.row_id for row in other.rows} != {row.row_id for row in sample.rows}
    scores = [1] * 2 + [2] * 3 + [3] * 5 + [4] * 10 + [5] * 40
    rows = [make_row("gen", i, score=score) for i, score in enumerate(scores)]
    again = write_build(tmp_path / "again", "gen", rows[::-1], rows_per_group=7)
    assert draw(again).to_json() == sample.to_json()


def test_the_order_tells_nothing_of_the_score(tmp_path):
    # Rare scores are all drawn, of the common one those that come first by the hash of the draw.
    rows = [make_row("gen", i, score=1 if i < 50 else 5) for i in range(1000)]
    build = write_build(tmp_path, "gen", rows, rows_per_group=100)
    scores = scores_of(build)
    for seed in range(3):
        order = [scores[row.row_id, None] for row in draw(build, rows=100, seed=seed).rows]
        assert sorted(order) == [1] * 50 + [5] * 50
        ranks = [place for place, score in enumerate(order) if score == 1]
        # The mean rank of 50 of 100 has a standard deviation of 2.9.
        assert abs(np.mean(ranks) - 49.5) < 3.5 * 2.9


# The page.


def test_every_axis_has_a_rubric_of_five_steps():
    for kind in ("gen", "edit"):
        for axis in axes_of(kind):
            told = rubric(axis)
            assert len(set(told["ladder"])) == 5
            assert told["question"].endswith("?")


def test_the_data_of_a_page_cannot_end_its_script_tag():
    text = "</script><script>alert(1)</script><!-- \u2028"
    written = embed_json({"text": text})
    assert "<" not in written
    assert json.loads(written) == {"text": text}


def page_data(page):
    return json.loads(page.split('id="data">')[1].split("</script>")[0])


@pytest.mark.parametrize("kind", ["gen", "edit"])
def test_the_page_holds_what_a_person_needs_and_nothing_that_a_model_said(kind, request):
    build = request.getfixturevalue(kind)
    sample = draw(build)
    page = make_page(build, kind, sample)
    data = page_data(page)
    assert set(data) == {"audit", "kind", "command", "rubrics", "rows", "pictures"}
    for row, drawn in zip(data["rows"], sample.rows, strict=True):
        assert set(row) == {"row_id", "axis", "text", "pictures"}
        assert (row["row_id"], row["axis"]) == (drawn.row_id, drawn.axis)
        number = int(row["row_id"], 16)
        text = f"Prompt {number // 2}." if kind == "gen" else f"Do thing {number}."
        assert row["text"] == text
        assert len(row["pictures"]) == (2 if kind == "edit" else 1)
        assert all(
            data["pictures"][name].startswith("data:image/webp;") for name in row["pictures"]
        )
    said = ["The reasoning", "Report", *(f"{name}" for name in ("score_", "vote", "probs"))]
    assert not [word for word in said if word in page]


@pytest.mark.parametrize("kind", ["gen", "edit"])
def test_rows_with_other_scores_make_the_very_same_page(tmp_path, kind):
    pages = []
    for shift in range(3):
        rows = [
            make_row(kind, i, axis=axis, score=1 + (i * i + shift) % 5, reasoning=f"Text {shift}.")
            for i in range(12)
            for axis in (AXES if kind == "edit" else (None,))
        ]
        build = write_build(tmp_path, kind, rows)
        pages.append(make_page(build, kind, draw(build, rows=100)))
    assert pages[0] == pages[1] == pages[2]


@pytest.mark.parametrize("kind", ["gen", "edit"])
def test_pictures_come_from_their_files_and_else_from_the_dataset(tmp_path, kind):
    build, columns = finished_build(tmp_path / "b", kind), PICTURES[kind]
    page = make_page(build, kind, draw(build))
    shutil.copytree(build, tmp_path / "lost")
    lose_files(tmp_path / "lost", columns)
    lost = make_page(tmp_path / "lost", kind, draw(tmp_path / "lost"))
    assert page_data(lost)["pictures"] == page_data(page)["pictures"]
    empty_pictures(build, columns)
    assert make_page(build, kind, draw(build)) == page


def test_pictures_get_smaller_until_they_fit():
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    for most in (250_000, 50_000):
        assert len(picture_url(image, most)) * 3 / 4 <= most + 100
    assert picture_url(image, 1)


def test_a_picture_that_is_not_the_one_scored_is_an_error_that_names_the_row(tmp_path, capsys):
    row = make_row("gen", 1)
    row["image"] = {"bytes": picture(99), "path": "x.png"}
    build = write_build(tmp_path, "gen", [row])
    assert main(build) == 1
    assert "row 00000000000000000001, image: x.png is not the picture" in capsys.readouterr().err
    assert not (build / "audit" / "index.html").exists()


# Reading back. The kappas are worked out by hand.


def write_scores(build, answers, **more):
    """A file of scores as the page saves it; `answers` by number of the row, or (number, axis)."""
    (sample,) = (build / "audit").glob("sample-*.json")
    scores = []
    for key, score in answers.items():
        number, axis = key if isinstance(key, tuple) else (key, None)
        scores.append({"row_id": f"{number:020x}", "axis": axis, "score": score})
    value = {"audit": sample.stem.removeprefix("sample-"), "scores": scores, **more}
    path = build.parent / "scores.json"
    path.write_text(json.dumps(value))
    return path


@pytest.fixture
def five(tmp_path):
    """Five rows with the model's scores 1 to 5, whose audit page is made."""
    rows = [make_row("gen", 2 * i, score=1 + i) for i in range(5)]
    build = write_build(tmp_path / "five", "gen", rows)
    assert main(build) == 0
    return build


def read_back(build, path):
    assert main(build, scores=path) == 0
    return json.loads((build / "audit.json").read_text())


def test_perfect_agreement_is_no_error_and_kappa_1(five, capsys):
    report = read_back(five, write_scores(five, {2 * i: 1 + i for i in range(5)}))
    (axis,) = report["axes"]
    assert (axis["n"], axis["mae"], axis["kappa"]) == (5, 0, 1)
    assert axis["mae_interval"] == [0, 0]
    assert (report["rows"], report["unsure"], report["gone"]) == (5, 0, 0)
    assert (five / "audit" / report["file"]).is_file()
    assert "alignment" in capsys.readouterr().out


def test_kappa_and_error_are_those_worked_out_by_hand(five):
    # The person: 1 1 3 4 4 against 1 2 3 4 5. Off by 0 1 0 0 1: MAE 2/5, sum of squares 2.
    # By chance: the mean over all 25 pairs of (a - b)^2 is
    # (2 * (0+1+4+9+16) + (4+1+0+1+4) + 2 * (9+4+1+0+1)) / 25 = (60+10+30) / 25 = 4,
    # so of five rows 20: kappa = 1 - 2/20.
    report = read_back(five, write_scores(five, {0: 1, 2: 1, 4: 3, 6: 4, 8: 4}))
    (axis,) = report["axes"]
    assert axis["mae"] == pytest.approx(0.4)
    assert axis["kappa"] == pytest.approx(0.9)
    low, high = axis["mae_interval"]
    assert 0 <= low < 0.4 < high <= 1


def test_a_row_stands_for_the_rows_of_its_score(tmp_path):
    # 8 fives and 2 ones; the person agrees with all ones and is 1 off in every five.
    rows = [make_row("gen", i, score=5 if i < 8 else 1) for i in range(10)]
    build = write_build(tmp_path / "b", "gen", rows)
    assert main(build, rows=4) == 0
    (sample,) = (build / "audit").glob("sample-*.json")
    ids = [int(row["row_id"], 16) for row in json.loads(sample.read_text())["rows"]]
    report = read_back(build, write_scores(build, {i: 4 if i < 8 else 1 for i in ids}))
    # Unweighted it would be 2/4.
    assert report["axes"][0]["mae"] == pytest.approx(0.8)


def test_weights_count_like_rows_said_as_often():
    true, given = np.array([1, 2, 5, 4]), np.array([1, 3, 5, 2])
    weights = np.array([3, 1, 2, 4])
    said = [np.repeat(a, weights) for a in (true, given)]
    assert mae(true, given, weights) == pytest.approx(mae(*said))
    assert quadratic_kappa(true, given, weights) == pytest.approx(quadratic_kappa(*said))


def test_unsure_is_no_score(five, capsys):
    report = read_back(five, write_scores(five, {0: 1, 2: "unsure", 4: 3}))
    assert report["axes"][0]["n"] == 2
    assert (report["scored"], report["unsure"], report["unanswered"]) == (2, 1, 2)
    out = capsys.readouterr().out
    assert "model's score 2 was scored: nothing is said of 1 rows" in out


def test_with_nothing_to_compare_measures_are_null_and_not_numbers(five):
    report = read_back(five, write_scores(five, {0: "unsure"}))
    (axis,) = report["axes"]
    assert (axis["n"], axis["mae"], axis["kappa"]) == (0, None, None)
    assert axis["mae_interval"] == [None, None]
    report = read_back(five, write_scores(five, {0: 1}))
    assert (report["axes"][0]["mae"], report["axes"][0]["kappa"]) == (0, None)


def test_rows_of_one_prompt_alone_give_no_interval(tmp_path):
    rows = [make_row("gen", i, score=1 + i, prompt="the same") for i in range(5)]
    build = write_build(tmp_path / "b", "gen", rows)
    assert main(build) == 0
    (axis,) = read_back(build, write_scores(build, {i: 1 + i for i in range(4)}))["axes"]
    assert (axis["mae"], axis["kappa"]) == (0, 1)
    assert axis["mae_interval"] == axis["kappa_interval"] == [None, None]


def test_it_is_said_for_what_share_of_the_build_it_holds(tmp_path, capsys):
    # 6 ones and 2 twos; only ones are scored.
    rows = [make_row("gen", i, score=1 if i < 6 else 2) for i in range(8)]
    build = write_build(tmp_path / "b", "gen", rows)
    assert main(build) == 0
    (axis,) = read_back(build, write_scores(build, {0: 1, 2: 1}))["axes"]
    assert axis["share_covered"] == 0.75
    assert "alignment: holds for 75.0% of the build's rows" in capsys.readouterr().out
    (axis,) = read_back(build, write_scores(build, {0: 1, 7: 1}))["axes"]
    assert axis["share_covered"] == 1
    assert "holds for" not in capsys.readouterr().out


def test_the_answers_that_were_audited_are_kept(five):
    report = read_back(five, write_scores(five, {0: 1, 2: "unsure", 4: 3}))
    assert report["answers"] == ["answer-0-execution", "answer-4-execution"]


def test_whoever_makes_the_page_is_not_told_the_scores_in_it(gen, edit, capsys):
    assert main(gen, rows=20) == 0
    assert "  alignment: 20\n" in capsys.readouterr().out
    assert main(edit, rows=20) == 0
    said = capsys.readouterr().out
    assert "  execution: 10\n  consistency: 10\n" in said
    assert "score:" not in said


def test_each_axis_is_measured_by_itself(edit):
    assert main(edit, rows=40) == 0
    ids = {(int(row_id, 16), axis): s for (row_id, axis), s in scores_of(edit).items()}
    off = {key: s if key[1] == AXES[0] else max(1, s - 1) for key, s in ids.items()}
    report = read_back(edit, write_scores(edit, off))
    execution, consistency = report["axes"]
    assert (execution["axis"], execution["mae"]) == ("execution", 0)
    assert (consistency["axis"], consistency["mae"]) == ("consistency", pytest.approx(0.8))
    assert not math.isnan(consistency["kappa"])


def test_the_interval_draws_prompts_and_not_rows(tmp_path):
    # Two prompts with many rows each, one right and one wrong throughout: two draws, three results.
    rows = [make_row("gen", i, score=3, prompt="a" if i % 2 else "b") for i in range(40)]
    build = write_build(tmp_path / "b", "gen", rows)
    assert main(build, rows=40) == 0
    report = read_back(build, write_scores(build, {i: 3 if i % 2 else 4 for i in range(40)}))
    assert report["axes"][0]["mae_interval"] == [0, 1]


def test_scores_are_those_of_the_present_dataset_and_what_is_gone_is_told(five, capsys):
    path = write_scores(five, {2 * i: 1 + i for i in range(5)})
    rows = [make_row("gen", 2 * i, score=5 - i) for i in range(4)]
    write_build(five, "gen", rows)
    report = read_back(five, path)
    assert report["gone"] == 1
    assert report["axes"][0]["n"] == 4
    # 1 2 3 4 against 5 4 3 2.
    assert report["axes"][0]["mae"] == pytest.approx((4 + 2 + 0 + 2) / 4)
    assert "1 scored rows are no longer in the dataset" in capsys.readouterr().out


def test_a_second_page_leaves_the_scores_of_the_first_readable(five):
    path = write_scores(five, {2 * i: 1 + i for i in range(5)})
    assert main(five, rows=2, seed=3) == 0
    assert read_back(five, path)["rows"] == 5


BAD = {
    "not JSON": ("{", "not a file of scores"),
    "another audit": ({"audit": "abc"}, "is of audit 'abc'"),
    "a path for an audit": ({"audit": "../x"}, "is of audit '../x'"),
    "an unknown row": ({"scores": [{"row_id": "x", "axis": None, "score": 1}]}, "no such row"),
    "a row twice": ("double", "stands twice"),
    "no score at all": ({"scores": [{"row_id": f"{0:020x}", "axis": None}]}, "lacks row_id, axis"),
    "a row that is a list": ({"scores": [[]]}, "lacks row_id, axis or score"),
    "an axis that is a list": (
        {"scores": [{"row_id": "x", "axis": [], "score": 1}]},
        "lacks row_id, axis or score",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_cannot_be_used_is_refused_and_nothing_written(five, case, capsys):
    change, message = BAD[case]
    path = write_scores(five, {0: 1})
    value = json.loads(path.read_text())
    if change == "double":
        change = {"scores": value["scores"] * 2}
    path.write_text(change if isinstance(change, str) else json.dumps(value | change))
    assert main(five, scores=path) == 1
    assert message in capsys.readouterr().err
    assert not (five / "audit.json").exists()


@pytest.mark.parametrize("text", ["", '{"audit": "x", "rows": [', '{"rows": [{}]}', "[]"])
def test_a_damaged_sample_is_told_with_what_to_do(five, text, capsys):
    path = write_scores(five, {0: 1})
    (sample,) = (five / "audit").glob("sample-*.json")
    whole = sample.read_text()
    sample.write_text(text)
    assert main(five, scores=path) == 1
    assert f"{sample}: damaged" in (said := capsys.readouterr().err)
    assert "make the page again with the --rows and --seed that it had" in said
    assert main(five) == 0
    assert sample.read_text() == whole
    assert main(five, scores=path) == 0


@pytest.mark.parametrize("n", [0, 2, 60], ids=["no file", "fewer groups", "other rows"])
def test_a_dataset_that_is_replaced_meanwhile_is_told_and_no_page_made(gen, n, monkeypatch, capsys):
    def draw_and_replace(*given, **more):
        sample = draw_sample(*given, **more)
        write_build(gen, "gen", [make_row("gen", i) for i in range(100, 100 + n)])
        return sample

    monkeypatch.setattr("flows.audit.draw_sample", draw_and_replace)
    assert main(gen, rows=20) == 1
    assert "; wait until its flow has ended if it runs" in capsys.readouterr().err
    assert not (gen / "audit" / "index.html").exists()


@pytest.mark.parametrize("score", [0, 6, 2.5, 3.0, "3", True, None, "Unsure"])
def test_only_1_to_5_are_scores(five, score, capsys):
    assert main(five, scores=write_scores(five, {0: score})) == 1
    assert f"score {score!r} is neither 1 to 5 nor 'unsure'" in capsys.readouterr().err


def test_a_build_whose_last_run_did_not_finish_is_refused(five, capsys):
    path = write_scores(five, {0: 1})
    (five / "manifest.json").unlink()
    assert main(five) == main(five, scores=path) == 1
    assert capsys.readouterr().err.count("did not finish; run its flow again") == 2
    assert not (five / "audit.json").exists()


def test_a_missing_file_and_a_folder_that_is_no_build_are_told(five, tmp_path, capsys):
    assert main(five, scores=tmp_path / "none.json") == 1
    assert "none.json: not a file of scores" in capsys.readouterr().err
    assert main(tmp_path) == 1
    assert "not a build folder" in capsys.readouterr().err
