"""ShapeBench end to end, with the stub for a judge: what is asked, joined, kept and refused."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from stub_process import stub_process

from foundry.evals.shapebench import TEACHERS, VOTES, make_recipes, run_shapebench, write_rows
from foundry.evals.shapebench_report import measure
from foundry.evals.shapebench_tables import markdown
from pipelines.connecting import Servers

ROWS = 32


def run(folder, stub, rows=ROWS):
    servers = Servers()
    endpoint = {"url": stub.url, "model": "stub"}
    recipes = make_recipes(folder, rows=rows, endpoint=endpoint)
    return run_shapebench(folder, recipes, rows=rows, servers=servers, say=lambda _: None)


def command(out, *words):
    return subprocess.run(
        [sys.executable, "-m", "foundry.evals.run", "shapebench", "--out", str(out), *words],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parent.parent,
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapebench")
    with stub_process() as stub:
        yield folder, stub, run(folder, stub)


def test_every_row_has_a_prediction_in_every_mode_and_axis(done):
    _, _, answers = done
    counts = Counter((p.axis, p.mode, p.votes) for p in answers.predictions)
    edit_modes = ("direct", TEACHERS["edit"])
    assert counts == {
        **{
            (axis, mode, votes): 16
            for axis in ("execution", "consistency")
            for mode in edit_modes
            for votes in VOTES
        },
        **{("gen", mode, votes): 16 for mode in ("direct", TEACHERS["gen"]) for votes in VOTES},
    }
    assert {p.true for p in answers.predictions} <= {1, 2, 3, 4, 5}
    assert all(p.expected is not None for p in answers.predictions if p.score)
    assert {p.unseen for p in answers.predictions} == {True, False}


def test_the_truth_is_that_of_the_row(done):
    folder, _, answers = done
    truth = {
        row["id"]: row
        for path in folder.glob("rows-*/*/truth.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    for p in answers.predictions:
        assert p.true == truth[p.row]["score" if p.axis == "gen" else p.axis]


def test_lists_are_asked_once_and_a_second_run_asks_nothing(done):
    folder, stub, answers = done
    asked = Counter(request["kind"] for request in stub.requests())
    prompts = {one.group for one in answers.listed if one.kind == "checklist"}
    assert asked["gen_checklist_v1"] == len(prompts) == 4
    assert asked["edit_differences_v1"] == 16
    # Both axes, one request for one vote and one for four.
    assert asked["edit_score_v1"] == 2 * 16 * 2
    assert asked["judge_score_v1"] == 2 * 16 * 2 + 16 * 2
    assert run(folder, stub) == answers
    assert Counter(request["kind"] for request in stub.requests()) == asked


def test_the_report_has_no_gaps_and_is_legal_json(done):
    _, _, answers = done
    found = measure(answers)
    json.dumps(found, allow_nan=False)
    text = markdown(found)
    for words in ("difference first", "plan then score", "direct", "always", "checklist"):
        assert words in text


def test_a_rejected_reply_is_counted_and_never_scored(tmp_path):
    with stub_process(invalid_json_share=1.0) as stub:
        answers = run(tmp_path, stub, rows=16)
    assert {p.score for p in answers.predictions} == {None}
    assert all(p.reason for p in answers.predictions)
    found = measure(answers)
    assert all(s["rejected"] == 1 and s["mae"] is None for s in found["scores"])
    # Where there is no report or checklist, no score is asked for; every reply was asked for again.
    for s in found["scores"]:
        assert s["cost"]["asked"] == (s["rows"] if s["mode"] == "direct" else 0)
    assert all(one["cost"]["asked_again"] == 1 for one in found["lists"])


def test_a_folder_of_rows_that_was_cut_short_is_written_anew(tmp_path):
    truth = write_rows(tmp_path, 16)
    (tmp_path / "edit" / "truth.parquet").write_bytes(b"PAR1")
    shutil.rmtree(tmp_path / "gen" / "pictures")
    assert write_rows(tmp_path, 16) == truth


def test_the_command_refuses_what_it_cannot_do(tmp_path):
    neither = command(tmp_path, "--model", "stub")
    assert (neither.returncode, "--endpoint URL" in neither.stderr) == (2, True)
    (tmp_path / "judge.json").write_text('{"model": "other", "weights": {}}\n')
    journal = tmp_path / "gen" / "journal" / "gen_scores" / "00000.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text('{"answer_id": "a"}\n')
    other = command(tmp_path, "--model", "stub", "--endpoint", "http://127.0.0.1:9/v1")
    assert other.returncode == 2
    assert "answers of another judge" in other.stderr
    assert "Traceback" not in other.stderr
    (tmp_path / "judge.json").write_text("{")
    half = command(tmp_path, "--model", "stub", "--endpoint", "http://127.0.0.1:9/v1")
    assert (half.returncode, "cannot be read" in half.stderr) == (2, True)


def test_an_endpoint_that_is_none_claims_no_folder(tmp_path):
    done = command(tmp_path / "out", "--model", "stub", "--endpoint", "nonsense")
    assert (done.returncode, "the endpoint is refused" in done.stderr) == (2, True)
    assert not (tmp_path / "out").exists()
