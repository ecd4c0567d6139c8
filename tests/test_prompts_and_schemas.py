"""The prompt and schema files, and what is derived from them."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipelines.pair_choice import pair_stages
from pipelines.recipe import EditRecipe, GenRecipe
from pipelines.rendering import render_report
from pipelines.settings import ScoreSettings, StageSettings
from pipelines.stages import CHARACTERS_PER_TOKEN, edit_stages, gen_stages
from pipelines.student import student_stages
from prompts import load_prompt, parse_prompt, prompt_ids
from schemas import (
    arrow_type,
    load_schema,
    max_characters,
    request_schema,
    schema_ids,
    validator,
)

ITEM = {"subject": "car", "category": "colour", "before": "red", "after": "blue"}
CHECK = {"kind": "subject", "question": "Is there a car?", "critical": True}
VERDICT = {"id": "c1", "evidence": "a car at the left", "verdict": "yes"}
VALID = {
    "gen_checklist.v1": {"items": [CHECK] * 3},
    "gen_score.v1": {"verdicts": [VERDICT] * 3, "reasoning": "It fits.", "score": 5},
    "edit_differences.v1": {"obvious": [ITEM], "detailed": []},
    "edit_score.v1": {"reasoning": "The car is blue.", "score": 5},
    "judge_score.v1": {"reasoning": "The car is blue.", "score": 5},
    "judge_score_only.v1": {"score": 5},
    "judge_choice.v1": {"reasoning": "Only the second has a car.", "choice": "second"},
    "judge_quality.v1": {"reasoning": "Blurred.", "aesthetics": 4, "technical": 2, "structure": 5},
    "rewrite_instruction.v1": {"instruction": "Make the car green."},
    "rationale_comparison.v1": {"reasoning": "Only the first sees the car.", "better": "first"},
}
INVALID = {
    "gen_checklist.v1": {"items": [CHECK] * 2},
    "gen_score.v1": {"verdicts": [VERDICT] * 3, "reasoning": "It fits.", "score": "5"},
    "edit_differences.v1": {"obvious": [ITEM | {"category": "mood"}], "detailed": []},
    "edit_score.v1": {"reasoning": "The car is blue.", "score": 5, "confidence": 1},
    "judge_score.v1": {"reasoning": "The car is blue.", "score": 0},
    "judge_score_only.v1": {"reasoning": "The car is blue.", "score": 5},
    "judge_choice.v1": {"reasoning": "Neither has a car.", "choice": "tie"},
    "judge_quality.v1": {"reasoning": "Blurred.", "aesthetics": 4, "technical": 2},
    "rewrite_instruction.v1": {"instruction": ""},
    "rationale_comparison.v1": {"reasoning": "Only the first sees the car.", "better": "both"},
}


def parts(schema):
    yield schema
    for inner in schema.get("properties", {}).values():
        yield from parts(inner)
    if "items" in schema:
        yield from parts(schema["items"])


@pytest.mark.parametrize("schema_id", schema_ids())
def test_every_schema_is_legal_closed_bounded_and_described(schema_id):
    schema = load_schema(schema_id)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == schema_id
    for part in parts(schema):
        assert part["description"], part
        match part["type"]:
            case "object":
                assert part["additionalProperties"] is False
                assert part["required"] == list(part["properties"])
            case "string":
                assert "maxLength" in part or "enum" in part
            case "array":
                assert "maxItems" in part


@pytest.mark.parametrize("schema_id", schema_ids())
def test_every_schema_has_a_valid_and_an_invalid_example(schema_id):
    assert validator(schema_id).is_valid(VALID[schema_id])
    assert not validator(schema_id).is_valid(INVALID[schema_id])


@pytest.mark.parametrize("schema_id", schema_ids())
def test_one_file_serves_arrow_too(schema_id):
    column = arrow_type(load_schema(schema_id))
    assert pa.array([VALID[schema_id]], type=column).to_pylist() == [VALID[schema_id]]


def endpoints(*roles):
    return {role: {"url": "http://127.0.0.1:1/v1", "model": "m"} for role in roles}


def test_the_longest_legal_reply_fits_the_reply_budget():
    source = {"kind": "jsonl", "path": "x.jsonl"}
    gen = GenRecipe(output="o", sources=source, endpoints=endpoints("planner", "judge"))
    edit = EditRecipe(output="o", sources=source, endpoints=endpoints("judge"))
    students = [
        stage
        for kind, recipe in (("gen", gen), ("edit", edit))
        for stage in student_stages(kind, ScoreSettings(), recipe.endpoints.judge[0]).values()
    ]
    students += pair_stages(StageSettings(), gen.endpoints.judge[0]).values()
    for stage in [*gen_stages(gen).values(), *edit_stages(edit).values(), *students]:
        characters = max_characters(request_schema(stage.schema_id))
        assert characters <= CHARACTERS_PER_TOKEN * (stage.max_tokens + 1)
    # Of a score alone even letter by letter, as a model writes it that never saw it.
    fast = student_stages("gen", ScoreSettings(), gen.endpoints.judge[0], score_only=True)
    (stage,) = fast.values()
    assert stage.max_tokens > len('{"score":5}')


def test_a_request_can_ask_for_exactly_n_verdicts():
    schema = request_schema("gen_score.v1", 3)
    assert "description" not in json.dumps(schema)
    five = {**VALID["gen_score.v1"], "verdicts": [{**VERDICT, "id": f"c{i}"} for i in range(1, 6)]}
    assert validator("gen_score.v1", 5).is_valid(five)
    assert not validator("gen_score.v1", 4).is_valid(five)
    assert not validator("gen_score.v1", 3).is_valid(VALID["gen_score.v1"])  # c1 three times


@pytest.mark.parametrize("prompt_id", prompt_ids())
def test_every_prompt_names_its_inputs_and_an_existing_schema(prompt_id):
    prompt = load_prompt(prompt_id)
    assert prompt.output_schema in (None, *schema_ids())
    text = prompt.render({name: f"<{name}>" for name in prompt.inputs})
    assert all(f"<{name}>" in text for name in prompt.inputs)


def test_both_edit_axes_begin_alike_so_that_the_prefix_cache_pays_once():
    values = {"report": "- colour: car: red -> blue", "instruction": "Make the car blue."}
    execution = load_prompt("edit_execution.v1").render(values)
    consistency = load_prompt("edit_consistency.v1").render(values)
    shared = "</instruction>\n\nScore the "
    assert execution.split(shared)[0] == consistency.split(shared)[0]


@given(st.text())
def test_a_value_is_never_scanned_again(text):
    assert text in load_prompt("gen_checklist.v1").render({"prompt": text})


def test_a_missing_or_unknown_input_raises():
    with pytest.raises(KeyError):
        load_prompt("gen_checklist.v1").render({})
    with pytest.raises(ValueError, match="no input"):
        load_prompt("gen_checklist.v1").render({"prompt": "a", "picture": "b"})


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("no front matter", "no front matter"),
        ("---\nid: a\nversion: 1\n---\ntext", "front matter must be"),
        ("---\nid: b\nversion: 1\ninputs:\noutput_schema:\nsource: own\n---\n", "calls itself"),
        ("---\nid: a\nversion: 1\ninputs: x\noutput_schema:\nsource: own\n---\n$y", "inputs"),
    ],
)
def test_a_broken_prompt_file_is_refused(raw, message):
    with pytest.raises(ValueError, match=message):
        parse_prompt(raw, "a.v1")


def test_an_unknown_id_lists_the_known_ones():
    with pytest.raises(FileNotFoundError, match=r"edit_score\.v1"):
        load_schema("edit_scores.v1")
    with pytest.raises(FileNotFoundError, match=r"gen_score\.v1"):
        load_prompt("gen_score.v9")


def test_the_report_keeps_the_order_and_says_when_there_is_nothing():
    assert render_report([], []) == "No differences were found."
    report = render_report([ITEM], [ITEM | {"subject": "sky"}])
    assert report.index("car: red -> blue") < report.index("sky: red -> blue")
