"""A judge's reasoning with what it rests on: what stands before it, and what gives way."""

import pytest
from dataset_cases import make_row
from hypothesis import given
from hypothesis import strategies as st

from pipelines.export.conversations import ExportRefused, student_reply
from pipelines.export.evidence import with_evidence
from schemas import load_schema

LONGEST = load_schema("judge_score.v1")["properties"]["reasoning"]["maxLength"]


def verdict(evidence, said):
    return {"id": "c1", "evidence": evidence, "verdict": said}


def difference(subject, before="red", after="blue"):
    return {"subject": subject, "category": "colour", "before": before, "after": after}


def test_what_was_seen_of_each_item_comes_first():
    verdicts = [verdict("two cats to be there; one cat.", "no"), verdict("a mat; a mat", "yes")]
    row = make_row("gen", 1, verdicts=verdicts, reasoning="One cat is missing.")
    assert with_evidence(row) == (
        "two cats to be there; one cat (no). a mat; a mat (yes). One cat is missing."
    )


def test_differences_come_first_the_obvious_before_the_others():
    seen = {"obvious": [difference("hat")], "detailed": [difference("tie", "dotted", "plain")]}
    row = make_row("edit", 1, **seen, reasoning="The hat is blue, as asked.")
    assert with_evidence(row) == (
        "hat: colour, red -> blue. tie: colour, dotted -> plain. The hat is blue, as asked."
    )
    row = make_row("edit", 1, obvious=[], detailed=[], reasoning="Nothing was done.")
    assert with_evidence(row) == "No differences were found. Nothing was done."


def test_items_that_are_met_give_way_first():
    verdicts = [verdict("x" * 150, said) for said in ("yes", "no", "yes", "partly", "yes", "no")]
    row = make_row("gen", 1, verdicts=verdicts, reasoning="y" * 100)
    told = with_evidence(row)
    assert [word for word in ("yes", "no", "partly") for _ in range(told.count(f"({word})"))] == [
        "yes",
        "no",
        "no",
        "partly",
    ]
    assert told.index("(yes)") < told.index("(no)")


@given(
    st.lists(
        st.builds(verdict, st.text(min_size=1, max_size=160), st.sampled_from(["yes", "no"])),
        min_size=3,
        max_size=12,
    ),
    st.text(min_size=1, max_size=LONGEST),
)
def test_it_always_is_a_reply_that_serving_accepts(verdicts, reasoning):
    row = make_row("gen", 1, verdicts=verdicts, reasoning=reasoning)
    told = with_evidence(row)
    assert told.endswith(reasoning)
    assert len(told) <= LONGEST
    student_reply({**row, "reasoning": told}, "judge_score.v1")


def test_a_reasoning_that_is_too_long_alone_is_left_for_serving_to_refuse():
    row = make_row("gen", 1, verdicts=[verdict("a cat", "no")], reasoning="y" * (LONGEST + 1))
    with pytest.raises(ExportRefused, match=row["row_id"]):
        student_reply({**row, "reasoning": with_evidence(row)}, "judge_score.v1")


def test_a_row_without_evidence_is_refused_by_name():
    row = {**make_row("edit", 7), "obvious": None, "detailed": None}
    with pytest.raises(ExportRefused, match=rf"row {row['row_id']}: has neither"):
        with_evidence(row)
