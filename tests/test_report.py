"""The report: true figures, a sample that shows what is rare, and a page of bounded size."""

import base64
import io
import json
import logging
import re
import shutil
import urllib.request
from collections import Counter

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flow_cases import flow_command, gen_source, tree_copy, write_recipe
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from real_servers import PYTHON, run
from report_cases import (
    HARMFUL,
    change_manifest,
    empty_pictures,
    finished_build,
    lose_files,
    make_dataset,
    many_rows,
)
from stub_server import stub_process

from flows.artifacts import report_build
from flows.report import main as report_command
from pipelines.build import PICTURES, BuildRefused
from pipelines.dataset_reading import DatasetUnreadable
from pipelines.report.figures import collect_figures
from pipelines.report.markdown import figures_markdown
from pipelines.report.page import render_page
from pipelines.report.rejects import find_answers
from pipelines.report.sample import pick_rows, read_picks, share_out
from pipelines.report.throughput import waiting_time
from pipelines.report.thumbnails import bytes_taken, fit_thumbnails, make_thumbnail
from pipelines.report.write import write_report
from pipelines.script_data import embed_json
from pipelines.shards import write_shard
from pipelines.tables import table_schema

KINDS = ("gen", "edit")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return {
        kind: finished_build(tmp_path_factory.mktemp(kind) / "build", kind, votes=3)
        for kind in KINDS
    }


@pytest.fixture
def build(made, tmp_path, request):
    """A copy of a finished build that a test may spoil."""
    kind = getattr(request, "param", "gen")
    shutil.copytree(made[kind], tmp_path / "build")
    return tmp_path / "build"


both_kinds = pytest.mark.parametrize("build", KINDS, indirect=True)


def data_of(path):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text())
    return json.loads(found[1])


def dataset_rows(build):
    paths = sorted((build / "dataset").glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


@both_kinds
def test_the_funnel_loses_rows_step_by_step_down_to_the_dataset(build):
    figures = collect_figures(build)
    left, law = figures["law"]["source"], figures["law"]
    for step in figures["funnel"]:
        assert step["lost"] == sum(step["why"].values())
        left -= step["lost"]
        assert step["left"] == left
    assert left == law["dataset"] == len(dataset_rows(build))
    lost = {step["name"]: step["lost"] for step in figures["funnel"]}
    axes = 2 if figures["build"]["kind"] == "edit" else 1
    assert (lost["rows"], lost["duplicates"]) == (axes, axes)
    assert sum(lost.values()) - lost["duplicates"] == law["rejected"]


def test_a_picture_that_went_later_is_not_one_that_could_not_be_read():
    from pipelines.funnel import funnel_steps

    manifest = {"law": {"source": 9, "duplicates": 1}, "funnel": {"rows": {}, "differences": {}}}
    rejects = {
        ("rows", "picture:missing"): 1,
        ("differences", "upstream:differences"): 1,
        ("gates", "gate:leak"): 1,
        ("gates", "picture:vanished"): 1,
        ("dataset", "picture:changed"): 1,
        ("balance", "balance:quota"): 1,
    }
    steps = funnel_steps(manifest, rejects)
    assert [(step["name"], step["lost"]) for step in steps] == [
        ("rows", 1),
        ("duplicates", 1),
        ("differences", 1),
        ("gates", 1),
        ("pictures", 2),
        ("balance", 1),
    ]
    assert steps[-1]["left"] == 2


@both_kinds
def test_scores_votes_and_entropy_are_those_of_the_dataset(build):
    figures, rows = collect_figures(build), dataset_rows(build)
    for scores, agreement in zip(figures["scores"], figures["agreement"], strict=True):
        mine = [row for row in rows if row.get("axis") == scores["axis"]]
        assert scores["after"] == [sum(r["score"] == s for r in mine) for s in range(1, 6)]
        assert agreement["voted"] == len(mine)
        assert agreement["unanimous"] == sum(len(set(r["vote_scores"])) == 1 for r in mine)
        ranges = Counter(max(r["vote_scores"]) - min(r["vote_scores"]) for r in mine)
        assert agreement["ranges"] == [ranges[i] for i in range(5)]
        assert agreement["spread"] == pytest.approx(sum(r["vote_spread"] for r in mine))
        bits = [-sum(p * np.log2(p) for p in r["score_probs"] if p > 0) for r in mine]
        assert agreement["entropy"] == pytest.approx(sum(bits))
        assert agreement["unsure"] == sum(b > 1 for b in bits)
        assert sum(agreement["entropies"]) == len(mine)


def test_the_mass_of_labels_is_that_of_the_rows_that_were_asked_without_a_form(build):
    given = [0.5, None, 1.0]
    for path in (build / "dataset").glob("train-*.parquet"):
        table = pq.read_table(path)
        masses = (given + [None] * table.num_rows)[: table.num_rows]
        given = []
        place = table.schema.get_field_index("label_mass")
        pq.write_table(table.set_column(place, "label_mass", pa.array(masses, pa.float64())), path)
    figures = collect_figures(build)
    (agreement,) = figures["agreement"]
    assert (agreement["freed"], agreement["label_mass"]) == (2, pytest.approx(1.5))
    assert "75.0% (2 asked)" in figures_markdown(figures, build / "report")


def test_before_balance_and_the_target_add_up_over_the_splits(build):
    parts = [
        {"split": split, "axis": None, "before": [n] * 5, "after": [1] * 5}
        for split, n in (("train", 9), ("validation", 2))
    ]
    balance = [{**part, "target": [0.2] * 5} for part in parts]
    change_manifest(build, scores=parts, balance=balance)
    (scores,) = collect_figures(build)["scores"]
    assert scores["before"] == [11] * 5
    assert scores["target"] == pytest.approx([2.0] * 5)


def test_each_gate_states_what_it_met_and_rejected(build):
    figures = collect_figures(build)
    gates = {gate["gate"]: gate for gate in figures["gates"]}
    step = next(step for step in figures["funnel"] if step["name"] == "gates")
    assert step["why"]["gate:contradiction"] == gates["contradiction"]["rejected"] > 0
    assert all(gate["met"] == step["left"] + step["lost"] for gate in gates.values())
    assert "grounding" not in gates  # edits alone
    assert not gates["contamination"]["on"]  # no benchmarks


def test_waiting_time_leaves_out_the_pause_between_two_runs():
    first, second = [[0, 10], [5, 20], [5, 6]], [[5000, 5030]]
    assert waiting_time(np.array(first)) == (20, 1)
    assert waiting_time(np.array(second + first)) == (50, 2)
    assert waiting_time(np.array([[0, 10], [15, 20]])) == (15, 1)  # a breath is no pause
    assert waiting_time(np.empty((0, 2))) == (0, 0)


def test_answers_of_earlier_settings_are_not_timed(build):
    before = collect_figures(build)["stages"]
    manifest = json.loads((build / "manifest.json").read_text())
    manifest["stages"]["gen_scores"]["sampling"]["temperature"] = 0.1
    change_manifest(build, **manifest)
    after = collect_figures(build)["stages"]
    assert [s["table"] for s in after] == ["checklists", "gen_scores", None]
    assert before[1]["timed"] == before[1]["answers"] > 0
    assert before[1]["answers_an_hour"] > 0
    assert after[0]["timed"] == before[0]["timed"]
    assert (after[1]["timed"], after[1]["answers_an_hour"]) == (0, None)


@pytest.mark.parametrize("harm", ["no manifest", "bad manifest", "no build"])
def test_a_folder_that_is_no_finished_build_is_refused_by_name(build, harm):
    name = "build.json" if harm == "no build" else "manifest.json"
    (build / name).unlink()
    if harm == "bad manifest":
        (build / name).write_text("{")
    done = run([PYTHON, "-m", "flows.report", str(build)])
    assert done.returncode == 1
    assert str(build) in done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(BuildRefused, match=str(build)):
        write_report(build)


def test_the_command_says_where_the_page_is_and_how_much_it_shows(build):
    done = run([PYTHON, "-m", "flows.report", str(build), "--rows", "5"])
    assert done.returncode == 0, done.stderr
    assert "report/index.html" in done.stdout
    assert re.search(r"\d of \d+ kept, \d of \d+ rejects", done.stdout)
    assert len(data_of(build / "report" / "index.html")["rows"]) == 5


@given(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=9), n=st.integers(0, 500))
def test_shares_are_equal_but_for_kinds_that_have_fewer(sizes, n):
    strata = {(True, "", str(i)): size for i, size in enumerate(sizes)}
    shares = share_out(strata, n)
    assert sum(shares.values()) == min(n, sum(sizes))
    most = max(shares.values())
    assert all(shares[s] == size or shares[s] >= most - 1 for s, size in strata.items())


def test_rare_scores_and_reasons_are_seen(tmp_path):
    kept = [("execution", 5)] * 5000 + [("execution", 1)] * 3 + [("consistency", 3)] * 400
    rejects = ["reply:schema"] * 900 + ["gate:leak"] * 2
    sample = pick_rows(many_rows(tmp_path / "b", kept, rejects), rows=300, seed=0)
    assert (sample.kept, sample.rejects) == ((200, 5403), (100, 902))
    rows = [row for _, row in read_picks(sample.picks, but=("image",))]
    found = Counter((row.get("axis"), row.get("score") or row["reason"]) for row in rows)
    assert found == {
        ("execution", 1): 3,
        ("execution", 5): 99,
        ("consistency", 3): 98,
        (None, "gate:leak"): 2,
        (None, "reply:schema"): 98,
    }


def test_a_sample_is_the_same_for_one_seed_and_another_for_another(tmp_path):
    build = many_rows(tmp_path / "b", [(None, 3)] * 500, [])
    one, again, other = (pick_rows(build, rows=50, seed=seed).picks for seed in (1, 1, 2))
    assert one == again
    assert {pick.index for pick in one} != {pick.index for pick in other}


def test_both_axes_of_an_edit_are_chosen_together(build, tmp_path):
    made = many_rows(tmp_path / "many", [("execution", 3)] * 400 + [("consistency", 3)] * 400, [])
    table = pq.read_table(made / "dataset")
    ids = table["row_id"].to_pylist()[:400]
    at = table.schema.get_field_index("row_id")
    pq.write_table(
        table.set_column(at, "row_id", [ids * 2]), made / "dataset/train-00000-of-00001.parquet"
    )
    rows = [row["row_id"] for _, row in read_picks(pick_rows(made, rows=100, seed=0).picks)]
    assert set(Counter(rows).values()) == {2}


def test_sampling_never_holds_more_than_a_row_group_of_pictures(tmp_path):
    many_rows(tmp_path / "b", [(None, 1 + i % 5) for i in range(4000)], [], picture_bytes=40_000)
    script = f"""
import pyarrow as pa
from pathlib import Path
from pipelines.report.sample import pick_rows, read_picks
sample = pick_rows(Path({str(tmp_path / "b")!r}), rows=300, seed=0)
n = sum(len(row["image"]["bytes"]) for _, row in read_picks(sample.picks))
print(n, pa.default_memory_pool().max_memory())
"""
    done = run([PYTHON, "-c", script])
    assert done.returncode == 0, done.stderr
    read, peak = map(int, done.stdout.split())
    assert read == 300 * 40_000
    # All of it is 160 MB, a row group 4.
    assert peak < 40e6


def noise(side, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def test_thumbnails_shrink_until_they_fit_and_keep_their_shape():
    thumbnails = {str(i): make_thumbnail(noise(300, i), 20_000) for i in range(6)}
    assert bytes_taken(thumbnails) > 60_000
    fitted = fit_thumbnails(thumbnails, 60_000)
    assert bytes_taken(fitted) <= 60_000
    for thumbnail in fitted.values():
        image = Image.open(io.BytesIO(base64.b64decode(thumbnail["data"])))
        assert image.size == (thumbnail["width"], thumbnail["height"])
        assert thumbnail["of"] == (300, 300)
        assert 24 <= image.width < 300
    assert fit_thumbnails(thumbnails, 500) == {}


def test_a_small_picture_is_not_enlarged_and_a_turned_one_stands_upright():
    image, out = Image.new("RGB", (40, 20), "red"), io.BytesIO()
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(out, "JPEG", exif=exif)
    thumbnail = make_thumbnail(out.getvalue(), 20_000)
    assert (thumbnail["width"], thumbnail["height"], thumbnail["of"]) == (20, 40, (20, 40))


@both_kinds
def test_the_page_holds_every_row_and_each_picture_once(build):
    report = write_report(build)
    data, rows = data_of(report.path), dataset_rows(build)
    kept = [row for row in data["rows"] if row["kept"]]
    assert {(r["row_id"], r["axis"]) for r in kept} == {(r["row_id"], r.get("axis")) for r in rows}
    by_id = {(row["row_id"], row.get("axis")): row for row in rows}
    for row in kept:
        original = by_id[row["row_id"], row["axis"]]
        assert (row["score"], row["reasoning"]) == (original["score"], original["reasoning"])
        assert row["answers"][0]["answer_id"] == original["answer_id"]
        asked = data["shared"][row["answers"][0]["asked"]]
        assert asked["prompt_sha256"] == original["prompt_sha256"]
        assert all(name in data["pictures"] for name in row["pictures"].values())
    digests = {row[k] for row in rows for k in row if re.fullmatch(r"\w*image_sha256", k)}
    assert digests <= {d for row in data["rows"] for d in row["sha256"].values()}
    assert len(data["pictures"]) == len({p for r in data["rows"] for p in r["pictures"].values()})
    assert report.size == report.path.stat().st_size


def told_of(path):
    """What the page tells of each row with a score, kept or rejected alike, by id and axis."""
    data = data_of(path)
    told = {}
    for row in data["rows"]:
        if row.get("score") is None:
            continue
        answers = [{**one, "asked": data["shared"][one["asked"]]} for one in row["answers"]]
        said = {"answers": answers}
        said |= {name: data["shared"][row[name]] for name in ("from", "upstream")}
        only = ("kept", "stage", "reason", "detail", "attempts", "faults", "answer_id")
        told[row["row_id"], row["axis"]] = {k: v for k, v in row.items() if k not in only} | said
    return told


@both_kinds
@pytest.mark.parametrize("by", ["gates", "balance", "dataset"])
def test_a_reject_that_has_a_score_shows_all_that_it_shows_in_the_dataset(build, by, monkeypatch):
    kind = collect_figures(build)["build"]["kind"]
    make_dataset(build, kind, 3, gates={"contradiction": False})
    before = told_of(write_report(build).path)
    if by == "gates":
        leak = ("gate:leak", "the checklist")
        monkeypatch.setattr("pipelines.gates.build_gates.first_fault", lambda row, gates: leak)
    elif by == "balance":
        monkeypatch.setattr("pipelines.dataset.choose_rows", keep_none)
    else:
        monkeypatch.setattr("pipelines.dataset_files._image", no_picture)
    make_dataset(build, kind, 3, gates={"contradiction": False})
    data = data_of(write_report(build).path)
    assert {row["stage"] for row in data["rows"]} == {by, "rows"}
    assert len(before) == len(data["rows"]) - (2 if kind == "edit" else 1) > 5
    assert told_of(build / "report/index.html") == before


def keep_none(index, *_, **__):
    return pl.Series("kept", [False] * index.height), []


def no_picture(picture, *, inside):
    raise OSError("gone")


def test_of_a_reject_whose_table_is_gone_its_score_and_reasoning_are_left(build):
    before = data_of(write_report(build).path)
    shutil.rmtree(build / "gen_scores")
    (build / "gen_scores").mkdir()
    data = data_of(write_report(build).path)
    for old, new in zip(before["rows"], data["rows"], strict=True):
        assert (old["row_id"], old.get("score")) == (new["row_id"], new.get("score"))
        if new.get("reason") == "gate:contradiction":
            assert new["reasoning"] == old["reasoning"]
            assert (new["answers"], new.get("verdicts")) == ([], None)


def test_a_reply_without_a_score_is_shown_raw_with_who_wrote_it_and_what_it_was_asked_with(build):
    path = next((build / "gen_scores").glob("*.parquet"))
    rows = pq.read_table(path).to_pylist()
    bad = {"status": "rejected", "reason": "reply:schema", "detail": "no", "raw_reply": "{"}
    for row in rows[:2]:
        row |= bad | {"score": None, "reasoning": None, "verdicts": None, "score_probs": None}
    write_shard(path, pa.Table.from_pylist(rows, schema=table_schema("gen_scores")), {})
    make_dataset(build, "gen", 3)
    data = data_of(write_report(build).path)
    found = [row for row in data["rows"] if row.get("reason") == "reply:schema"]
    assert len(found) == 2
    for row in found:
        assert (row["score"], row["raw_reply"]) == (None, "{")
        assert [one["table"] for one in row["answers"]] == ["gen_scores", "checklists"]
        assert data["shared"][row["answers"][0]["asked"]]["model"] == "stub"
        assert len(data["shared"][row["upstream"]]["checklist"]) >= 3


def test_a_row_that_was_never_asked_about_has_the_detail_and_no_answer(build):
    data = data_of(write_report(build).path)
    (unread,) = [row for row in data["rows"] if row.get("reason") == "picture:missing"]
    assert (unread["pictures"], unread["raw_reply"], unread["answers"]) == ({}, None, [])
    assert unread["detail"] == "gone.png: not there"
    (gated, *_) = [row for row in data["rows"] if row.get("reason") == "gate:contradiction"]
    assert gated["pictures"]["image"] in data["pictures"]


def test_a_damaged_shard_of_answers_is_named_without_a_trace(build):
    path = next((build / "gen_scores").glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetUnreadable, match=re.escape(str(path))):
        find_answers(build, "gen", pick_rows(build, rows=100, seed=0).picks)


@pytest.mark.parametrize("folder", ["dataset", "rejects", "rows", "gen_scores"])
def test_a_damaged_shard_is_told_in_a_line(build, folder, capsys):
    path = next((build / folder).glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:100])
    assert report_command(build) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"{path} cannot be read: ")
    assert len(told.splitlines()) == 1


def test_a_picture_that_is_gone_from_disk_costs_the_page_only_that_picture(build):
    lose_files(build)
    data = data_of(write_report(build).path)
    kept = {name for row in data["rows"] if row["kept"] for name in row["pictures"].values()}
    gated = [r for r in data["rows"] if not r["kept"] and r["reason"] == "gate:contradiction"]
    # The dataset has its own bytes.
    assert set(data["pictures"]) == kept
    assert gated
    assert all(row["pictures"]["image"] not in data["pictures"] for row in gated)


@pytest.mark.parametrize("budget", [2_000_000, 150_000, 95_000])
def test_the_page_stays_within_its_bytes(tmp_path, made, budget):
    build = tmp_path / "build"
    shutil.copytree(made["gen"], build)
    report = write_report(build, most_bytes=budget)
    assert report.size <= budget
    shown = data_of(report.path)["sample"]
    assert len(data_of(report.path)["rows"]) == shown["kept"][0] + shown["rejects"][0] > 0


@both_kinds
def test_pictures_are_read_from_their_files_and_not_with_all_of_a_row_group(build):
    kind = collect_figures(build)["build"]["kind"]
    data = data_of(write_report(build).path)
    empty_pictures(build, PICTURES[kind])
    assert data_of(write_report(build).path)["pictures"] == data["pictures"] != {}


def test_a_file_that_was_changed_is_not_shown_for_the_picture_that_was_scored(build):
    data = data_of(write_report(build).path)
    kept = {name for row in data["rows"] if row["kept"] for name in row["pictures"].values()}
    lose_files(build)
    (build / "went.png").write_bytes(noise(50, 0))
    shown = data_of(write_report(build).path)["pictures"]
    assert set(shown) == kept
    assert all(shown[name]["of"] == data["pictures"][name]["of"] for name in kept)


def test_pictures_of_many_bytes_are_made_to_fit_as_well(build):
    lose_files(build)
    for path in (build / "dataset").glob("*.parquet"):
        table = pq.read_table(path)
        images = [{"bytes": noise(300, i), "path": None} for i in range(len(table))]
        at = table.schema.get_field_index("image")
        column = pa.array(images, table.schema.field("image").type)
        pq.write_table(table.set_column(at, "image", column), path, row_group_size=2)
    data = data_of(write_report(build).path)
    bytes_of_pictures = sum(len(picture["data"]) for picture in data["pictures"].values())
    small = write_report(build, most_bytes=170_000)
    assert small.size <= 170_000 < bytes_of_pictures
    assert set(data_of(small.path)["pictures"]) == set(data["pictures"])


texts = st.text() | st.sampled_from([HARMFUL, "</SCRIPT >", "<!--<script>", "\u2028", "{{data}}"])


@given(st.recursive(texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner)))
@settings(max_examples=200)
def test_embedded_json_cannot_end_its_tag_and_comes_back_as_it_was(value):
    text = embed_json(value)
    assert not re.search(r"[<>&\u2028\u2029]", text)
    assert text.isascii()
    assert json.loads(text) == value


def test_no_text_becomes_part_of_the_page(tmp_path):
    build = finished_build(tmp_path / "b<b>{{style}}", "gen", rows=2, reply=HARMFUL)
    page = write_report(build).path.read_text()
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img src=x" not in page
    assert "b&lt;b&gt;{{style}}: build report" in page
    rows = data_of(build / "report" / "index.html")["rows"]
    assert any(row["reasoning"] == HARMFUL for row in rows if row["kept"])


def test_the_page_loads_nothing_and_runs_only_the_code_shipped_in_it():
    page = render_page({}, title="x")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy
    assert not re.search(r"""(src|href)=["'](?!#)""", page)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", page)


def test_nan_in_a_row_is_shown_as_nothing(build):
    for path in (build / "dataset").glob("*.parquet"):
        table = pq.read_table(path)
        at = table.schema.get_field_index("took_s")
        nan = pa.array([float("nan")] * len(table), pa.float64())
        pq.write_table(table.set_column(at, "took_s", nan), path)
    data = data_of(write_report(build).path)
    assert all(r["answers"][0]["took_s"] is None for r in data["rows"] if r["kept"])


def test_the_markdown_has_the_same_figures(build):
    change_manifest(build, controls=[])
    figures = collect_figures(build)
    text = figures_markdown(figures, build / "report" / "index.html")
    for i, n in enumerate(figures["scores"][0]["after"], 1):
        assert re.search(rf"\| {i} \| {n} \|", text)
    assert "Not audited." in text
    page = build / "report" / "index.html"
    assert f"[`{page}`]({page.as_uri()})" in text
    assert figures["leaks"] in text
    assert "Nothing was left out for balance." in text
    gate = next(g for g in figures["gates"] if g["gate"] == "contradiction")
    assert f"| contradiction | {gate['rejected']} |" in text


def test_the_markdown_says_what_balance_left_and_what_first_leaked(build):
    part = {"split": "train", "axis": None, "before": [90, 9, 9, 9, 9], "after": [9] * 5}
    shares = {"target": [0.2] * 5, "kept_share": 0.357, "largest_deviation": 0.013}
    sizes = {"effective_before": 1314.15, "effective_after": 45.0}
    manifest = json.loads((build / "manifest.json").read_text())
    manifest["funnel"]["gen_scores"] |= {"leaked": 3, "leaked_to_the_end": 1}
    manifest |= {"scores": [part], "balance": [part | shares | sizes]}
    change_manifest(build, **manifest)
    text = figures_markdown(collect_figures(build), build / "report" / "index.html")
    assert "| train | alignment | 126 | 45 | 35.7% | 1,314 | 45 | 1.3 points |" in text
    assert "| score | before balance | wanted | rows |  |" in text
    assert "| 1 | 90 | 9 |" in text
    assert "3 of 12 scores asked for (25.0%) first came with a leak; rejected for it" in text


def test_a_build_from_before_leaks_were_counted_and_answers_named_is_shown_all_the_same(build):
    manifest = json.loads((build / "manifest.json").read_text())
    for table in ("checklists", "gen_scores"):
        for name in ("leaked", "leaked_to_the_end"):
            del manifest["funnel"][table][name]
    change_manifest(build, **manifest)
    for path in (build / "rejects").glob("*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["answer_id"]), path)
    done = run([PYTHON, "-m", "flows.report", str(build)])
    assert done.returncode == 0, done.stderr
    data = data_of(build / "report" / "index.html")
    assert data["leaks"] is None
    gated = [row for row in data["rows"] if row.get("reason") == "gate:contradiction"]
    assert all(row["score"] and row["reasoning"] and not row["answers"] for row in gated)


def test_the_markdown_says_what_was_audited_and_what_came_as_expected(build):
    control = {"control": "identical", "axis": None, "n": 9, "rejected": 1, "expected": [1, 2]}
    change_manifest(build, controls=[control | {"as_expected": 8, "mean_score": 1.25}])
    axis = {"axis": None, "n": 3, "mae": 0.5, "mae_interval": [0.25, 0.875], "kappa": 0.5}
    axis |= {"kappa_interval": [None, None], "share_covered": 0.75}
    answers = [row["answer_id"] for row in dataset_rows(build)[:2]]
    audit = {"rows": 5, "unsure": 1, "axes": [axis], "answers": [*answers, "of another dataset"]}
    (build / "audit.json").write_text(json.dumps(audit))
    text = figures_markdown(collect_figures(build), build / "report" / "index.html")
    assert "| identical | alignment | 9 | 1 | 1 to 2 | 8 of 10 | 1.25 |" in text
    assert "3 of 5 rows scored by a person, unsure of 1." in text
    assert "| alignment | 3 | 75.0% of rows | 0.50 (0.25 to 0.88) | 0.50 |" in text
    assert "1 of 3 audited answers are no longer in it" in text
    audit["answers"] = answers
    (build / "audit.json").write_text(json.dumps(audit))
    text = figures_markdown(collect_figures(build), build / "report" / "index.html")
    assert "an earlier dataset" not in text


def artifacts(env):
    request = urllib.request.Request(
        f"{env['PREFECT_API_URL']}/artifacts/latest/filter",
        data=b"{}",
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return {a["key"]: a for a in json.load(answer)}


@pytest.mark.prefect
def test_a_flow_writes_the_report_and_shows_its_figures_in_prefect(tmp_path, prefect_env):
    with stub_process() as stub:
        source = gen_source(tmp_path / "in", prompts=3, pictures=2)
        output = tmp_path / "Shown_Here"
        recipe = write_recipe(tmp_path / "r.yaml", "gen", stub.url, output, source)
        done = run(flow_command("gen", recipe), prefect_env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(data_of(output / "report" / "index.html")["rows"]) == 6
    found = artifacts(prefect_env)
    steps = json.loads(found["funnel-shown-here"]["data"])
    assert steps[0] == {"step": "source", "lost": 0, "left": 6, "why": ""}
    assert str(output / "report" / "index.html") in found["report-shown-here"]["data"]
    assert found["gen-scores-shown-here"]["data"] == 100.0
    assert found["gen-scores-shown-here"]["flow_run_id"] is not None


def test_a_file_in_the_place_of_the_report_does_not_fail_a_finished_build(
    build, monkeypatch, caplog
):
    monkeypatch.setattr("flows.artifacts.get_run_logger", lambda: logging.getLogger("flow"))
    (build / "report").write_text("a file")
    report_build(build)
    assert "the dataset is complete, its report could not be written" in caplog.text
    assert f"python -m flows.report {build}" in caplog.text
    assert (build / "report").read_text() == "a file"


@pytest.mark.prefect
def test_a_report_that_fails_leaves_the_build_done_and_says_what_to_do(tmp_path, prefect_env):
    tree = tree_copy(tmp_path / "tree")
    broken = tmp_path / "tree" / "pipelines" / "report" / "write.py"
    broken.write_text(broken.read_text().replace("figures = collect_figures(build)", "1 / 0"))
    with stub_process() as stub:
        source = gen_source(tmp_path / "in", prompts=2, pictures=1)
        recipe = write_recipe(tmp_path / "r.yaml", "gen", stub.url, tmp_path / "out", source)
        old = tmp_path / "out" / "report" / "index.html"
        old.parent.mkdir(parents=True)
        old.write_text("of an earlier run")
        env = prefect_env | tree
        done = run(flow_command("gen", recipe), env, cwd=tmp_path / "tree")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "python -m flows.report" in done.stdout + done.stderr
    assert "ZeroDivisionError" in done.stdout + done.stderr
    assert (tmp_path / "out" / "manifest.json").exists()
    assert not old.exists()
