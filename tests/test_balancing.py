"""Measuring balance with rewritten instructions: the truth of a rewritten one, and the counting."""

import pytest
from shapeworld_cases import BASE, after
from stub_server import stub_process

from foundry.evals.balancing import (
    PER_ROW,
    Rewritten,
    measure_balance,
    run_balance,
    true_scores,
)
from foundry.evals.balancing_tables import markdown
from foundry.shapeworld.instructions import UnreadInstruction
from foundry.shapeworld.rows import read_scene, scene_json
from pipelines.connecting import Servers
from pipelines.rendering import MISMATCHES

# The red circle became crimson, as somebody had asked.
DONE = after(BASE, t0={"colour": "crimson"})
KNOWN = {"source_scene": scene_json(BASE), "edited_scene": scene_json(DONE)}


def test_a_scene_is_read_as_it_was_written():
    assert read_scene(scene_json(DONE)) == DONE


@pytest.mark.parametrize(
    ("instruction", "execution", "consistency"),
    [
        ("Make the red circle crimson.", 5, 5),
        ("Make the red circle gold.", 2, 5),
        ("Make the red circle large.", 1, 4),
        ("Make the grey circle crimson.", 1, 4),
        ("Make the red circle crimson. Add a grey star.", 3, 5),
    ],
)
def test_scores_under_another_instruction_worked_by_hand(instruction, execution, consistency):
    assert true_scores(KNOWN, instruction) == {"execution": execution, "consistency": consistency}


def test_words_that_nobody_can_be_sure_of_have_no_truth():
    with pytest.raises(UnreadInstruction):
        true_scores(KNOWN, "Make it nicer.")
    # A second cross came up besides: it is not plain whether it should be gone.
    twin = {**KNOWN, "edited_scene": scene_json(after(DONE, add=["navy cross left"], remove=[3]))}
    assert true_scores(twin, "Remove the navy cross.") is None


def rewritten(kind, true, score, kept, axis="execution"):
    return Rewritten(axis=axis, kind=kind, read=true is not None, true=true, score=score, kept=kept)


def test_histograms_and_errors_worked_by_hand():
    judged = [
        rewritten(None, 5, 5, True),
        rewritten(None, 5, 4, False),
        rewritten(None, 2, None, False),
        rewritten("other_attribute", 2, 4, True),
        rewritten("other_attribute", None, 1, True),
        rewritten("opposite_action", 1, 1, True),
        rewritten("opposite_action", 4, 2, False, axis="consistency"),
    ]
    own = {
        "kept_share": 0.8,
        "largest_deviation": 0.05,
        "effective_before": 4.0,
        "effective_after": 3.0,
    }
    found = measure_balance(judged, [own])
    assert found["counts"]["source rows, true"] == [0, 1, 0, 0, 2]
    assert found["counts"]["source rows, judged"] == [0, 0, 0, 1, 1]
    assert found["counts"]["with rewritten rows, judged"] == [2, 0, 0, 2, 1]
    assert found["counts"]["kept, judged"] == [2, 0, 0, 1, 1]
    assert found["counts"]["kept, true"] == [1, 1, 0, 0, 1]
    assert found["source_rows"] == 3
    assert [one["kind"] for one in found["kinds"]] == [None, *PER_ROW]
    kinds = {one["kind"]: one for one in found["kinds"]}
    plain, attribute = kinds[None], kinds["other_attribute"]
    opposite = kinds["opposite_action"]
    assert plain["mae"]["execution"] == pytest.approx(1 / 2)
    assert (attribute["rows"], attribute["read"]) == (2, 1)
    assert attribute["mae"] == {"execution": pytest.approx(2), "consistency": None}
    assert opposite["mae"] == {"execution": 0, "consistency": pytest.approx(2)}
    assert "Kept: 80.0%" in markdown(found)
    assert "By the truth the kept rows are 1 / 1 / 0 / 0 / 1 of" in markdown(found)


def test_every_kind_of_rewriting_is_measured():
    assert set(PER_ROW) == set(MISMATCHES)


def test_a_skewed_build_goes_through_the_factory_with_all_its_rows(tmp_path):
    with stub_process() as stub:
        servers = Servers()
        judged, balance = run_balance(
            tmp_path,
            rows=40,
            endpoint={"url": stub.url, "model": "stub"},
            servers=servers,
            say=lambda text: None,
        )
        servers.close()
    found = measure_balance(judged, balance)
    assert found["counts"]["source rows, true"] == [2, 2, 2, 2, 32]
    plain, *rewrites = found["kinds"]
    assert (plain["rows"], plain["read"]) == (40, 40)
    for kind in rewrites:
        assert 0.4 * PER_ROW[kind["kind"]] < kind["rows"] / 40 < 1.8 * PER_ROW[kind["kind"]]
        # The stub writes what nobody can read: it has no truth, and is in no error.
        assert kind["read"] == 0
        assert kind["mae"] == {"execution": None, "consistency": None}
    (own,) = balance
    assert sum(own["after"]) == sum(found["counts"]["kept, judged"])
