import json
from collections import Counter

import pyarrow.parquet as pq
import pytest
import yaml
from chain_cases import edit_rows, gen_rows
from flow_cases import edit_source, flow_command, gen_source, write_recipe
from PIL import Image
from real_servers import run
from stub_server import stub_process

from pipelines.controls import control_rows, count_controls


def made(kind, rows, tmp_path, share=0.01):
    found = control_rows(kind, rows, share=share, build=tmp_path)
    return {row["control"]: row for row in found}


def test_a_generated_picture_gets_anothers_prompt_and_a_prompt_a_blank_picture(tmp_path):
    rows = gen_rows(tmp_path, prompts=3, pictures=2)
    found = made("gen", rows, tmp_path)
    assert found.keys() == {"shuffled", "blank"}
    by_id = {row["row_id"]: row for row in rows}
    shuffled, blank = found["shuffled"], found["blank"]
    assert shuffled["image"] == by_id[shuffled["row_id"]]["image"]
    assert shuffled["prompt"] != by_id[shuffled["row_id"]]["prompt"]
    assert blank["prompt"] == by_id[blank["row_id"]]["prompt"]
    with Image.open(blank["image"]["seen_path"]) as image:
        assert image.size == (by_id[blank["row_id"]]["image"]["seen_width"], 16)
        assert image.getextrema() == ((128, 128),) * 3


def test_an_edit_is_asked_about_with_itself_with_anothers_instruction_and_blanked(tmp_path):
    rows = edit_rows(tmp_path)
    found = made("edit", rows, tmp_path)
    assert found.keys() == {"identical", "shuffled", "blank"}
    by_id = {row["row_id"]: row for row in rows}
    identical = found["identical"]
    assert identical["edited_image"] == identical["source_image"]
    shuffled = found["shuffled"]
    assert shuffled["instruction"] != by_id[shuffled["row_id"]]["instruction"]
    assert found["blank"]["source_image"] == by_id[found["blank"]["row_id"]]["source_image"]
    assert "blank" in found["blank"]["edited_image"]["path"]


def test_the_share_is_of_rows_that_are_ok_and_rounded_up_for_each_kind(tmp_path):
    rows = edit_rows(tmp_path, pairs=10, instructions=2)
    for row in rows[:5]:
        row["status"] = "rejected"
    found = control_rows("edit", rows, share=0.25, build=tmp_path)
    # 15 rows, 3.75 controls, 1.25 of each of three kinds.
    assert Counter(row["control"] for row in found) == dict.fromkeys(
        ("identical", "shuffled", "blank"), 2
    )
    assert not {row["row_id"] for row in found} & {row["row_id"] for row in rows[:5]}
    assert control_rows("edit", rows, share=0, build=tmp_path) == []
    assert control_rows("edit", [], share=1, build=tmp_path) == []


def test_one_prompt_alone_cannot_be_shuffled(tmp_path):
    assert made("gen", gen_rows(tmp_path, prompts=1), tmp_path).keys() == {"blank"}


def test_further_rows_change_few_controls(tmp_path):
    rows = gen_rows(tmp_path, prompts=40, pictures=2)

    def blanks(some):
        found = control_rows("gen", some, share=0.25, build=tmp_path)
        return {row["row_id"] for row in found if row["control"] == "blank"}

    assert control_rows("gen", rows, share=0.25, build=tmp_path) == control_rows(
        "gen", rows, share=0.25, build=tmp_path
    )
    before, after = blanks(rows[:76]), blanks(rows)
    assert len(before) == len(after) == 10
    assert len(before & after) >= 7


def test_results_are_counted_by_kind_and_axis():
    def result(control, axis, score, expected):
        status = "rejected" if score is None else "ok"
        return {"control": control, "axis": axis, "score": score, "status": status,
                "expected": expected}  # fmt: skip

    assert count_controls(
        [
            result("shuffled", "execution", 1, [1, 2]),
            result("shuffled", "execution", 5, [1, 2]),
            result("shuffled", "execution", None, [1, 2]),
            result("shuffled", "consistency", 4, None),
            result("blank", "execution", None, [1, 1]),
        ]
    ) == [
        {"control": "blank", "axis": "execution", "n": 0, "rejected": 1, "expected": [1, 1],
         "as_expected": 0, "mean_score": None},
        {"control": "shuffled", "axis": "consistency", "n": 1, "rejected": 0, "expected": None,
         "as_expected": None, "mean_score": 4.0},
        {"control": "shuffled", "axis": "execution", "n": 2, "rejected": 1, "expected": [1, 2],
         "as_expected": 1, "mean_score": 3.0},
    ]  # fmt: skip


def dataset_ids(build):
    files = sorted((build / "dataset").glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file, columns=["row_id"]).to_pylist()]


@pytest.mark.prefect
@pytest.mark.parametrize("kind", ["gen", "edit"])
def test_a_build_asks_about_controls_and_keeps_them_out_of_the_dataset(kind, tmp_path, prefect_env):
    source = (
        gen_source(tmp_path / "s", prompts=10, pictures=2)
        if kind == "gen"
        else edit_source(tmp_path / "s", pairs=10, instructions=2)
    )
    build = tmp_path / "build"
    with stub_process() as stub:
        recipe = write_recipe(
            tmp_path / "r.yaml", kind, stub.url, build, source, control_share=0.1, shard_rows=100
        )
        first = run(flow_command(kind, recipe), prefect_env)
        asked = stub.log()["arrived"]
        second = run(flow_command(kind, recipe), prefect_env)
        assert stub.log()["arrived"] == asked
    assert first.returncode == second.returncode == 0, first.stderr
    manifest = json.loads((build / "manifest.json").read_text())
    axes = 1 if kind == "gen" else 2
    assert len(dataset_ids(build)) == 20 * axes == manifest["law"]["source"]
    results = pq.read_table(build / "controls" / "00000.parquet").to_pylist()
    kinds = {"gen": {"shuffled", "blank"}, "edit": {"identical", "shuffled", "blank"}}[kind]
    assert {row["control"] for row in results} == kinds
    assert len(results) == len(kinds) * axes
    assert all(row["status"] == "ok" and row["reasoning"] for row in results)
    # An untouched picture is execution 1, consistency 5 by the rubrics; grey fits nothing.
    for control, axis, least, most in (
        ("identical", "execution", 1, 1),
        ("identical", "consistency", 5, 5),
        ("blank", "execution", 1, 1),
        ("blank", "consistency", 1, 1),
        ("blank", None, 1, 1),
        ("shuffled", "execution", 1, 2),
        ("shuffled", None, 1, 2),
    ):
        expected = [r["expected"] for r in results if (r["control"], r["axis"]) == (control, axis)]
        assert expected == [[least, most]] * len(expected)
    assert [r["expected"] for r in results if r["axis"] == "consistency"].count(None) == axes - 1
    counted = manifest["controls"]
    assert sum(count["n"] for count in counted) == len(results)
    table = "gen_scores" if kind == "gen" else "edit_scores"
    # What the dataset rests on is counted alone.
    assert manifest["funnel"][table]["total"] == 20 * axes


@pytest.mark.prefect
def test_balance_is_told_and_what_it_leaves_out_stands_in_rejects(tmp_path, prefect_env):
    source, build = gen_source(tmp_path / "s", prompts=30, pictures=4), tmp_path / "build"
    with stub_process() as stub:
        recipe = write_recipe(tmp_path / "r.yaml", "gen", stub.url, build, source)
        assert run(flow_command("gen", recipe), prefect_env).returncode == 0
        before = json.loads((build / "manifest.json").read_text())
        settings = yaml.safe_load(recipe.read_text())
        settings["balance"] = {"targets": {"gen": "uniform"}, "tolerance": 0, "least_kept": 0}
        recipe.write_text(yaml.safe_dump(settings))
        asked = stub.log()["arrived"]
        done = run(flow_command("gen", recipe), prefect_env)
        assert stub.log()["arrived"] == asked
    assert done.returncode == 0, done.stderr
    manifest = json.loads((build / "manifest.json").read_text())
    assert before["balance"] is None
    train = next(one for one in manifest["balance"] if one["split"] == "train")
    assert len(set(train["after"])) == 1
    left_out = manifest["funnel"]["rejects"]["balance:quota"]
    law = manifest["law"]
    assert law["dataset"] + left_out == before["law"]["dataset"]
    assert [one["after"] for one in manifest["scores"] if one["split"] == "train"] == [
        train["after"]
    ]
    assert [one["before"] for one in manifest["scores"]] == [
        one["after"] for one in before["scores"]
    ]
    assert "balance" in done.stdout
