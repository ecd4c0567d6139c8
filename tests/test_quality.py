"""Measuring the gates: what is planted, what is found, and how it is counted."""

import io
import json
from collections import Counter

import pytest
from PIL import Image
from stub_server import stub_process

from foundry.evals.planted_reports import AGAINST_PIXELS, AGAINST_SCORE
from foundry.evals.planting import ANSWER_FAULTS, INVENTED, ROW_FAULTS, UNEDITED, plant_in_rows
from foundry.evals.quality import GATE_OF, Judged, measure, run_quality
from foundry.evals.quality_tables import markdown
from foundry.shapeworld.make import write_world
from pipelines.build import PICTURES
from pipelines.connecting import Servers
from pipelines.gates.grounding import changed_share


def judged(fault, reason, *, true=3, score=3, decidable=True):
    return Judged(kind="gen", axis=None, fault=fault, decidable=decidable, reason=reason, true=true,
                  score=score)  # fmt: skip


def test_recall_precision_and_errors_worked_by_hand():
    found = measure(
        [
            judged("leak", "gate:leak"),
            judged("leak", "gate:degenerate"),
            judged("leak", None),
            # Never came to a gate.
            judged("leak", "reply:schema", score=None),
            judged("moved by 2", None, score=5, decidable=False),
            judged("moved by 2", "gate:contradiction", score=5),
            judged(None, "gate:leak", score=4),
            # A false alarm, though something was planted.
            judged("sounds like a leak", "gate:leak", score=4),
            judged(None, None),
        ]
    )
    leak, clean, told, untold = found["faults"]
    assert (clean["gate"], clean["by_any"]) == (None, 1)
    assert (leak["planted"], leak["by_its_gate"], leak["by_any"]) == (3, 1, 2)
    assert (told["decidable"], told["planted"], told["by_its_gate"]) == (True, 1, 1)
    assert (untold["decidable"], untold["planted"], untold["by_any"]) == (False, 1, 0)
    gates = {one["gate"]: one for one in found["gates"]}
    assert gates["gate:leak"]["planted_for_it"] == 1
    assert (gates["gate:leak"]["unplanted"], gates["gate:leak"]["other_faults"]) == (2, 0)
    assert gates["gate:leak"]["unplanted_mae"] == 1
    assert gates["gate:degenerate"]["other_faults"] == 1
    (scores,) = [one for one in found["scores"] if one["axis"] == "gen"]
    # Of eight scores: two are 2 off, two are 1 off; of three kept: one is 2 off.
    assert scores["before"] == pytest.approx(6 / 8)
    assert (scores["kept"], scores["after"]) == (3, pytest.approx(2 / 3))
    assert scores["without_faults"] == pytest.approx(1 / 2)
    tables = markdown(found)
    assert "33.3% (1 of 3)" in tables
    assert "| gen | leak | yes | 3 | 33.3% (1 of 3) | 66.7% (2 of 3) | no |" in tables
    assert "| gen | moved by 2 | yes | 1 | 100.0% (1 of 1) | 100.0% (1 of 1) | yes |" in tables
    # Of what cannot be told from the row, and of what no gate should reject, nothing was asked.
    assert "| gen | moved by 2 | no | 1 | 0.0% (0 of 1) | 0.0% (0 of 1) |  |" in tables
    assert "found by their gate. Missed: gen leak." in tables
    assert "a planted fault. Missed: gen gate:leak." in tables
    assert "further from the truth" not in tables


def test_what_gets_worse_through_the_gates_is_said():
    found = measure([judged(None, "gate:leak", true=3), judged(None, None, true=5)])
    assert "on: gen (1.000 before, 2.000 after)." in markdown(found)
    assert "Missed: gen gate:leak." in markdown(found)
    assert "None is missed." in markdown(found)


def test_every_fault_names_the_gate_that_is_there_for_it():
    assert set(GATE_OF) == {*ROW_FAULTS, *ANSWER_FAULTS, AGAINST_PIXELS, AGAINST_SCORE}


def test_planted_rows_are_added_or_shared_with_the_benchmark(tmp_path):
    write_world("gen", 400, 5, tmp_path)
    faults = plant_in_rows("gen", tmp_path)
    lines = (tmp_path / "planted.jsonl").read_text().splitlines()
    rows = {row["id"]: row for row in map(json.loads, lines)}
    kinds = Counter(faults.values())
    assert set(kinds) == set(ROW_FAULTS) - {INVENTED}
    assert len(rows) == 400 + kinds["duplicate"] + kinds["near duplicate"]
    benchmark = [
        json.loads(line) for line in (tmp_path / "benchmark.jsonl").read_text().splitlines()
    ]
    texts = {item["text"] for item in benchmark if "text" in item}
    for row_id, fault in faults.items():
        row = rows[row_id]
        assert (tmp_path / row["image"]).is_file()
        if fault == "contaminated text":
            assert row["prompt"] in texts
        if fault == "duplicate":
            assert {**row, "id": row_id.removesuffix("-again")} == rows[
                row_id.removesuffix("-again")
            ]


def test_an_edit_that_was_not_made_is_its_source_saved_anew(tmp_path):
    write_world("edit", 200, 5, tmp_path)
    faults = plant_in_rows("edit", tmp_path)
    lines = (tmp_path / "planted.jsonl").read_text().splitlines()
    rows = {row["id"]: row for row in map(json.loads, lines)}
    unedited = [row_id for row_id, fault in faults.items() if fault == INVENTED]
    assert unedited
    for row_id in unedited:
        row, real = rows[row_id], rows[row_id.removesuffix(UNEDITED)]
        assert {**row, "id": real["id"], "edited_image": real["edited_image"]} == real
        pictures = [(tmp_path / row[side]).read_bytes() for side in PICTURES["edit"]]
        assert pictures[0] != pictures[1]
        before, after = (Image.open(io.BytesIO(picture)) for picture in pictures)
        assert changed_share(before, after) < 0.05


def test_planted_faults_go_through_the_factory_and_a_second_run_finds_the_same(tmp_path):
    found = []
    with stub_process() as stub:
        for _ in range(2):
            servers = Servers()
            found.append(
                run_quality(
                    tmp_path,
                    rows=160,
                    endpoint={"url": stub.url, "model": "stub"},
                    servers=servers,
                    say=lambda text: None,
                )
            )
            servers.close()
            arrived = stub.log()["arrived"]
        assert stub.log()["arrived"] == arrived
    assert found[0] == found[1]
    faults = {(one["kind"], one["fault"]): one for one in measure(found[0])["faults"]}
    for kind in ("gen", "edit"):
        duplicate = faults[kind, "duplicate"]
        assert duplicate["by_its_gate"] == duplicate["planted"] > 0
    text = faults["gen", "contaminated text"]
    assert text["by_any"] == text["planted"] > 0
    for fault in ("votes apart", AGAINST_SCORE, INVENTED):
        planted = faults["edit", fault]
        assert planted["decidable"]
        assert planted["by_its_gate"] == planted["planted"] > 0
    # A report is one for both axes, and a row has one fault.
    reported = [one for one in found[0] if one.fault in {AGAINST_PIXELS, AGAINST_SCORE, INVENTED}]
    axes = Counter(one.axis for one in reported)
    assert axes["execution"] == axes["consistency"]
    assert faults["edit", AGAINST_PIXELS]["planted"] > 0
