"""Benchmarks end to end, with the stub for a judge: read, asked, kept, measured, compared."""

import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from bench_cases import (
    GEN_PAIR_WORDS,
    ROOT,
    bench_command,
    edit_line,
    editreward,
    firm_edit,
    firm_gen,
    gen_line,
    gen_pairs,
    write_lines,
)
from PIL import Image
from stub_process import stub_process

from foundry.evals import card
from foundry.evals.bench import Item, Rows
from foundry.evals.bench_files import BenchRefused
from foundry.evals.compare import main as compare_command
from foundry.evals.run import shapebench
from foundry.evals.run_benches import (
    Judge,
    editreward_bench,
    firm_bench_edit,
    firm_bench_gen,
    pairwise,
)
from foundry.evals.shuffling import with_others_pictures

MODES = ["greedy", "expected", "avg@1", "avg@4", "avg@8"]


@pytest.fixture(scope="module")
def stub():
    with stub_process() as stub:
        yield stub


def judge(stub, model="stub"):
    return Judge(model=model, endpoint=stub.url)


def asked(stub):
    return [request for request in stub.requests() if request["kind"] == "judge_score_v1"]


def found(out, bench):
    return json.loads((out / f"{bench}.json").read_text())


def table_of(folder):
    (shard,) = folder.glob("*.parquet")
    return pq.read_table(shard).to_pylist()


def rest_of(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix in (".json", ".md", ".png"))


def test_firm_bench_edit_asks_for_what_has_a_human_score_once_and_reports_it(
    stub, tmp_path, capsys
):
    data, out = firm_edit(tmp_path / "data", rows=9), tmp_path / "out"
    before = len(asked(stub))
    assert firm_bench_edit(judge=judge(stub), data=data, out=out) == 0
    # 9 on execution and 7 on consistency, greedily and with eight votes.
    requests = asked(stub)[before:]
    assert len(requests) == 2 * 16
    assert sorted({request["n"] for request in requests}) == [1, 8]
    report = found(out, "firm_bench_edit")
    assert [one["slice"] for one in report["slices"]] == ["execution", "consistency", "edit"]
    assert [one["n"] for one in report["slices"]] == [9, 7, 16]
    assert [mode["mode"] for mode in report["slices"][2]["modes"]] == MODES
    assert report["model"] == "stub"
    text = (out / "firm_bench_edit.md").read_text()
    assert "| FIRM-8B | 0.53 | 0.73 | 0.62 |" in text
    assert "others: [10, 21, 108, 57, 105]" in text
    assert text in capsys.readouterr().out
    with Image.open(out / "firm_bench_edit.png") as plot:
        assert plot.width > 500
    assert rest_of(out) == [
        "firm_bench_edit.json", "firm_bench_edit.md", "firm_bench_edit.png", "judge.json"
    ]  # fmt: skip
    # Nothing is asked twice, and the same comes out.
    assert firm_bench_edit(judge=judge(stub), data=data, out=out) == 0
    assert len(asked(stub)) == before + 2 * 16
    assert found(out, "firm_bench_edit") == report
    # One folder a judge.
    assert firm_bench_edit(judge=judge(stub, "other"), data=data, out=out) == 2
    assert "answers of another judge" in capsys.readouterr().err


def test_a_name_that_nothing_answers_to_keeps_nobody_out(stub, tmp_path, capsys):
    data, out = firm_gen(tmp_path / "data", rows=2), tmp_path / "out"
    assert firm_bench_gen(judge=judge(stub, "stubb"), data=data, out=out) == 1
    assert "does not serve 'stubb'" in capsys.readouterr().err
    assert firm_bench_gen(judge=judge(stub), data=data, out=out) == 0
    assert firm_bench_gen(judge=judge(stub, "stubb"), data=data, out=out) == 2
    assert "answers of another judge" in capsys.readouterr().err


def test_rows_that_are_the_same_are_asked_about_once_and_each_is_an_item(stub, tmp_path):
    # One edit in two lines, a human score on another axis in each.
    line = edit_line(tmp_path, 1)
    axes = ("execution", "consistency")
    lines = [{**line, "id": axis, "axis": axis, "score": 3} for axis in axes]
    before = len(asked(stub))
    file = write_lines(tmp_path / "a.jsonl", lines)
    assert firm_bench_edit(judge=judge(stub), data=file, out=tmp_path / "out") == 0
    assert len(asked(stub)) == before + 2 * 2
    report = found(tmp_path / "out", "firm_bench_edit")
    assert [one["n"] for one in report["slices"]] == [1, 1, 2]
    # Two lines share what was asked about each axis.
    assert {name: one["answers"] for name, one in report["failures"].items()} == {
        "greedy": 2,
        "votes": 2 * 8,
    }
    assert all(one["given"]["greedy"] for one in report["items"])


def test_the_votes_that_are_kept_are_those_that_are_averaged(stub, tmp_path):
    out = tmp_path / "out"
    file = firm_gen(tmp_path / "data", rows=4)
    assert firm_bench_gen(judge=judge(stub), data=file, out=out) == 0
    greedy, sampled = (
        {row["image_sha256"]: row for row in table_of(out / "gen" / table)}
        for table in ("judge_gen_scores", "gen_rollouts")
    )
    report = found(out, "firm_bench_gen")
    for sha256, row in greedy.items():
        votes = [one["score"] for one in sampled[sha256]["rollouts"]]
        assert len(votes) == 8
        given = {"greedy": row["score"], "expected": row["score_expected"]}
        given |= {f"avg@{k}": sum(votes[:k]) / k for k in (1, 4, 8)}
        assert any(one["given"] == pytest.approx(given) for one in report["items"])


def test_a_vote_that_cannot_be_used_is_not_asked_for_again(tmp_path):
    data, out = firm_gen(tmp_path / "data", rows=3), tmp_path / "out"
    with stub_process(invalid_json_share=1.0, fault_attempts=1, fault_choices=2) as stub:
        assert firm_bench_gen(judge=judge(stub), data=data, out=out) == 0
        # The greedy reply is, once, at the second attempt.
        assert sorted(request["n"] for request in asked(stub)) == [1] * 6 + [8] * 3
    report = found(out, "firm_bench_gen")
    answers = table_of(out / "gen" / "gen_rollouts")
    votes = [[one["score"] for one in row["rollouts"]] for row in answers]
    assert all(row[:2] == [None, None] and None not in row[2:] for row in votes)
    given = [one["given"] for one in report["items"]]
    for mode, some in (("avg@4", slice(2, 4)), ("avg@8", slice(2, 8))):
        wanted = sorted(sum(row[some]) / len(row[some]) for row in votes)
        assert sorted(one[mode] for one in given) == pytest.approx(wanted)
    assert {one["avg@1"] for one in given} == {None}
    assert report["failures"]["votes"] == {
        "answers": 24,
        "without_score": 6,
        "reasons": {"reply:not_json": 6},
        "first_reply_unusable": 6,
    }


def test_replies_that_cannot_be_used_are_counted_and_never_scored(tmp_path):
    data, out = editreward(tmp_path / "data", rows=6), tmp_path / "out"
    with stub_process(invalid_json_share=0.4, gives_logprobs=False) as stub:
        assert editreward_bench(judge=judge(stub), data=data, out=out) == 0
        # One request for votes each, whatever came of it.
        assert [request["n"] for request in asked(stub)].count(8) == 16
    report = found(out, "editreward_bench")
    votes = report["failures"]["votes"]
    assert 0 < votes["without_score"] < votes["answers"] == 16 * 8
    failures = report["failures"]["greedy"]
    assert 0 < failures["without_score"] < failures["answers"] == 16
    assert failures["reasons"] == {"reply:not_json": failures["without_score"]}
    failed = 0
    for one in report["items"]:
        sides = one["given"]["greedy"]
        failed += None in sides
        assert "expected" not in one["given"] or None in one["given"]["expected"]
    greedy = [one["modes"][0] for one in report["slices"]]
    assert sum(mode["failures"] for mode in greedy) == failed > 0
    assert all(mode["strict"][0] <= 1 - mode["failures"] / mode["n"] for mode in greedy)


def test_a_picture_that_cannot_be_read_is_told_before_anything_is_asked(stub, tmp_path, capsys):
    lines = [gen_line(tmp_path, n, score=3) for n in range(3)]
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    file = write_lines(tmp_path / "gen.jsonl", lines)
    before = stub.log()["arrived"]
    assert firm_bench_gen(judge=judge(stub), data=file, out=tmp_path / "out") == 2
    assert f"{file}, line 2: image: " in capsys.readouterr().err
    assert stub.log()["arrived"] == before


def test_pairs_from_the_command_line_and_what_it_refuses(stub, tmp_path):
    data, out = gen_pairs(tmp_path / "two words", rows=10), tmp_path / "out"
    done = subprocess.run(
        bench_command("pairwise", out, data, stub.url, *GEN_PAIR_WORDS),
        capture_output=True, text=True, timeout=120, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (one,) = found(out, "pairwise")["slices"]
    assert (one["n"], one["human_ties"]) == (6, 4)
    assert one["always_first"] == pytest.approx(1 / 3)
    assert "both orders agree by construction" in done.stdout
    assert "| always second | 6 |  | 0.67" in done.stdout
    # What the report says it was made with makes it again, and asks nothing.
    before = len(asked(stub))
    command = re.search(r"`python (-m foundry.evals.run pairwise .*?)`", done.stdout)[1]
    again = subprocess.run(
        [sys.executable, *shlex.split(command.replace("URL", stub.url))],
        capture_output=True, text=True, timeout=120, cwd=ROOT,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert (again.stdout, len(asked(stub))) == (done.stdout, before)
    done = subprocess.run(
        bench_command("pairwise", out, data, stub.url, "--column", "choice"),
        capture_output=True, text=True, timeout=120, cwd=ROOT,
    )  # fmt: skip
    assert (done.returncode, "write it as OURS=THEIRS" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


def test_a_judge_of_pairs_sees_both_pictures_in_both_orders(stub, tmp_path, capsys):
    data, out = gen_pairs(tmp_path / "data", rows=10), tmp_path / "out"
    columns = ("first_image=left_image", "second_image=right_image", "choice=vote_type")
    choices = ("first=leftvote", "second=rightvote", "tie=tievote", "tie=bothbad_vote")
    before = len(stub.requests())

    def run(more=columns):
        return pairwise(judge=judge(stub), data=data, column=more, choice=choices, together=True,
                        out=out)  # fmt: skip

    assert run() == 0
    requests = [r for r in stub.requests()[before:] if r["kind"] == "judge_choice_v1"]
    assert len(requests) == 2 * 10
    assert {r["pictures_bytes"] + r["pictures_uuid"] for r in requests} == {2}
    report = found(out, "pairwise-together")
    (one,) = report["slices"]
    assert [mode["mode"] for mode in one["modes"]] == ["as given", "swapped", "both orders"]
    assert 0 <= one["orders"]["consistent"][0] <= 1
    table = table_of(out / "gen" / "judge_pair_choices")
    shown = {(row["first_image_sha256"], row["second_image_sha256"]) for row in table}
    assert shown == {pair[::-1] for pair in shown}
    assert len(shown) == 20
    assert "swap consistency" in capsys.readouterr().out
    before = len(stub.requests())
    assert run() == 0
    assert [r for r in stub.requests()[before:] if r["kind"] == "judge_choice_v1"] == []
    assert run(("instruction=prompt", "source_image=left_image", *columns)) == 2
    assert "edits have a source picture" in capsys.readouterr().err


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path):
    data, out = firm_gen(tmp_path / "data", rows=24), tmp_path / "out"
    journal = out / "gen" / "journal" / "judge_gen_scores" / "00000.jsonl"
    with stub_process(latency_s=(0.0, 8.0)) as stub:
        run = subprocess.Popen(
            bench_command("firm_bench_gen", out, data, stub.url),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
                assert time.monotonic() < deadline
                assert run.poll() is None
                time.sleep(0.05)
        finally:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
        kept = journal.read_bytes().count(b"\n")
        assert kept < 24
        stub.become(latency_s=(0.0, 0.0))
        before = len(asked(stub))
        assert firm_bench_gen(judge=judge(stub), data=data, out=out) == 0
        # What was in flight is asked again, and all of the eight votes for the first time.
        assert len(asked(stub)) - before == 24 - kept + 24
    assert found(out, "firm_bench_gen")["slices"][-1]["n"] == 24


def test_shapebench_in_the_students_way_alone_reports_as_the_others_do(stub, tmp_path):
    before = len(asked(stub))
    assert shapebench(judge=judge(stub), rows=32, direct=True, out=tmp_path) == 0
    # 16 edits on both axes and 16 pictures, greedily and with eight votes, and nothing else.
    assert len(asked(stub)) - before == 2 * (2 * 16 + 16)
    report = found(tmp_path, "shapebench-direct-32")
    slices = {one["slice"]: one["n"] for one in report["slices"]}
    assert (slices["execution"], slices["consistency"], slices["gen"]) == (16, 16, 16)
    assert slices["gen new combinations"] + slices["gen known combinations"] == 16


def test_a_quick_look_asks_greedily_alone_and_once_more_with_the_pictures_of_other_rows(
    stub, tmp_path, capsys
):
    before = len(asked(stub))
    some = {"rows": 32, "direct": True, "out": tmp_path}
    assert shapebench(judge=judge(stub), votes=False, shuffled=True, **some) == 0
    assert {request["n"] for request in asked(stub)[before:]} == {1}
    assert len(asked(stub)) - before == 2 * (2 * 16 + 16)
    report = found(tmp_path, "shapebench-direct-32")
    for one in (report, report["shuffled"]):
        assert [mode["mode"] for mode in one["slices"][0]["modes"]] == MODES[:2]
    own, others = report["items"], report["shuffled"]["items"]
    assert [(i["id"], i["true"]) for i in own] == [(i["id"], i["true"]) for i in others]
    assert not {i["content"] for i in own} & {i["content"] for i in others}
    assert list(report["failures"]) == ["greedy"]
    assert "With the pictures of other rows" in capsys.readouterr().out
    assert shapebench(judge=judge(stub), shuffled=True, out=tmp_path) == 2
    assert "--shuffled and --no-votes go with --direct" in capsys.readouterr().err


def test_the_pictures_of_a_row_are_those_of_one_row_of_another_group():
    ids = [f"{group}-{i}" for group in "abcd" for i in (0, 1)]
    by_id = {i: {"source_image": f"{i}.s", "edited_image": f"{i}.e", "instruction": i} for i in ids}
    rows = Rows(kind="edit", by_id=by_id, places={i: i for i in ids})
    items = [
        Item(id=i, row=i, axis="execution", part="", group=i.partition("-")[0], true=3) for i in ids
    ]
    shown = with_others_pictures(rows, items).by_id
    for i, row in shown.items():
        other = row["source_image"].removesuffix(".s")
        assert (row["instruction"], row["edited_image"]) == (i, f"{other}.e")
        assert other[0] != i[0]
    assert len({row["edited_image"] for row in shown.values()}) == len(ids)
    few = {i: by_id[i] for i in ids[:2]}
    with pytest.raises(BenchRefused, match="too few rows"):
        with_others_pictures(replace(rows, by_id=few), items)


def test_two_reports_are_compared_and_other_items_refused(stub, tmp_path, capsys):
    data = firm_gen(tmp_path / "data", rows=8)
    for name in ("a", "b"):
        model = {"a": "stub", "b": "other"}[name]
        stub.become(models=("stub", "other"))
        done = firm_bench_gen(judge=judge(stub, model), data=data, out=tmp_path / name)
        assert done == 0
    numbers = tmp_path / "numbers.json"
    capsys.readouterr()
    assert compare_command(tmp_path / "a", tmp_path / "b", out=numbers) == 0
    text = capsys.readouterr().out
    assert "# firm_bench_gen: two judges on the same 8 items" in text
    assert re.search(r"\| gen \| avg@8 \| MAE, failures as the furthest \| 8 \| \d\.\d\d \|", text)
    assert json.loads(numbers.read_text())["b"] == "other"
    fewer = firm_gen(tmp_path / "fewer", rows=6)
    assert firm_bench_gen(judge=judge(stub), data=fewer, out=tmp_path / "c") == 0
    assert compare_command(tmp_path / "a", tmp_path / "c") == 2
    told = capsys.readouterr().err
    assert "not the same items: 2 of 8 are in the first report alone: 6 (gen), 7 (gen)" in told
    (tmp_path / "none").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "foundry.evals.compare", tmp_path / "a", tmp_path / "none"],
        capture_output=True, text=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.endswith("give the .json of one report; there are: none\n")


CARD = """# Reward model

It sees pictures.

## Data

Rows.

## Curve

Steps.
"""


def test_a_card_gets_the_benchmarks_of_its_weights_once_and_before_its_data(stub, tmp_path, capsys):
    reports, model = [], tmp_path / "model"
    for bench, data in ((firm_bench_gen, firm_gen), (editreward_bench, editreward)):
        out = tmp_path / bench.__name__
        assert bench(judge=judge(stub), data=data(tmp_path / f"{out.name}-data"), out=out) == 0
        reports.append(out)
    assert card.main(model, *reports) == 2
    assert "has no card" in capsys.readouterr().err
    model.mkdir()
    (model / "README.md").write_text(CARD)
    assert card.main(model, reports[0]) == 0
    assert card.main(model, *reports) == 0
    text = (model / "README.md").read_text()
    heads = [line for line in text.splitlines() if line.startswith("#")]
    benches = ["### firm_bench_gen", "### editreward_bench"]
    assert heads == ["# Reward model", "## Benchmarks", *benches, "## Data", "## Curve"]
    assert re.sub(r"## Benchmarks\n.*(?=## Data)", "", text, flags=re.DOTALL) == CARD
    of_all = (reports[0] / "firm_bench_gen.md").read_text()
    rows = [line for line in of_all.splitlines() if line.startswith("| gen | greedy |")]
    assert len(rows) == 1
    assert rows[0] in text
    assert "`stub`, as the server named it" in text


def test_a_report_of_other_weights_does_not_go_into_a_card(tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    (tmp_path / "model.safetensors").write_bytes(b"mine")
    others = {"model.safetensors": hashlib.sha256(b"others").hexdigest()}
    report = {"bench": "b", "slices": [], "weights": others}
    with pytest.raises(card.CardRefused, match="other weights"):
        card.write_benchmarks(tmp_path, [report])
    assert (tmp_path / "README.md").read_text() == CARD


def test_a_report_without_a_table_for_a_card_is_refused(tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    with pytest.raises(card.CardRefused, match="--direct"):
        card.write_benchmarks(tmp_path, [{"bench": "shapebench", "weights": {}}])
    assert (tmp_path / "README.md").read_text() == CARD
