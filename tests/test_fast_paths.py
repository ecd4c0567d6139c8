"""Fast paths of the client give what the plain ones would, or step aside."""

import json
import math
from string import Template

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stub_answers import make_answer
from stub_behaviour import Behaviour
from stub_replies import Dice, compile_filler, violate

from pipelines import fast_json
from pipelines.replies import score_probabilities
from pipelines.short_body import LAST_TOKENS, without_early_logprobs
from prompts import Prompt, load_prompt, prompt_ids
from schemas import quick_check, request_schema, schema_ids, validator
from schemas.compiled_check import compile_check

SCHEMAS = [(name, None) for name in schema_ids()] + [("gen_score.v1", 3), ("gen_score.v1", 8)]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.just(1.0) | st.text(max_size=4),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=4), part),
    max_leaves=8,
)


def reply_body(schema_id, digest, n=1):
    body = {"n": n, "logprobs": True, "max_tokens": 9999, "model": "m"}
    filler = compile_filler(request_schema(schema_id))
    return make_answer(Behaviour(), body, filler, digest, None, 0)


def probabilities(body):
    return [score_probabilities(choice["logprobs"]) for choice in json.loads(body)["choices"]]


@given(st.sampled_from(schema_ids()), st.integers(1, 1 << 60), st.integers(1, 4))
def test_a_shortened_body_says_the_same_but_for_early_logprobs(schema_id, number, n):
    body = reply_body(schema_id, f"{number:x}", n)
    short = without_early_logprobs(body)
    assert len(short) < len(body)
    assert probabilities(short) == probabilities(body)
    whole, cut = json.loads(body), json.loads(short)
    for choice in (*whole["choices"], *cut["choices"]):
        assert len(choice.pop("logprobs")["content"]) > LAST_TOKENS
    assert cut == whole


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"choices":[{"logprobs":null,"finish_reason":"stop"}]}',
        b'{"choices":[{"logprobs":{"content":[',
        b'{"choices":[{"logprobs":{"content":[]},"finish_reason":"stop"}]}',
        json.dumps(json.loads(reply_body("edit_score.v1", "1"))).encode(),
    ],
)
def test_a_body_of_another_form_is_left_as_it_is(body):
    assert without_early_logprobs(body) == body


def test_a_text_that_looks_like_logprobs_is_no_place_to_cut():
    text = '"logprobs":{"content":[' + '"top_logprobs":[' * 20 + ']},"finish_reason":'
    body = json.dumps({"content": text, "token": text}, separators=(",", ":")).encode()
    assert without_early_logprobs(body) == body


@pytest.mark.parametrize(("schema_id", "verdicts"), SCHEMAS)
def test_every_filled_reply_passes_the_quick_check(schema_id, verdicts):
    fill = compile_filler(request_schema(schema_id, verdicts))
    for number in range(50):
        out = []
        fill(Dice(number), out, [], 0.0)
        value = json.loads("".join(out))
        assert validator(schema_id, verdicts).is_valid(value)
        assert quick_check(schema_id, verdicts)(value)
        assert not quick_check(schema_id, verdicts)(json.loads(violate("".join(out), number)))


@given(st.sampled_from(SCHEMAS), st.integers(0, 999), json_values, st.data())
def test_what_passes_the_quick_check_passes_jsonschema(schema, number, replacement, data):
    out = []
    compile_filler(request_schema(*schema))(Dice(number), out, [], 0.0)
    value = {"root": json.loads("".join(out))}
    part, key = value, "root"
    while isinstance(part[key], dict | list) and part[key] and data.draw(st.booleans()):
        part = part[key]
        keys = sorted(part) if isinstance(part, dict) else range(len(part))
        key = data.draw(st.sampled_from(list(keys)))
    part[key] = replacement
    if quick_check(*schema)(value["root"]):
        assert validator(*schema).is_valid(value["root"])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number"},
        {"enum": [1, "a"]},
        {"type": "string", "pattern": "a"},
        {"type": "object", "properties": {}, "required": []},
        {"type": "array", "items": {"anyOf": []}},
    ],
)
def test_a_schema_with_other_keywords_is_left_to_jsonschema(schema):
    check = compile_check(schema)
    assert not any(check(value) for value in (1, "a", {}, [], None))


def test_true_is_no_score():
    check = quick_check("edit_score.v1")
    assert check({"reasoning": "a", "score": 1})
    assert not check({"reasoning": "a", "score": True})


@pytest.mark.parametrize("text", ['"\\ud800"', "[NaN, Infinity]", '{"a": 1, "a": 2}', "1e5"])
def test_json_that_orjson_refuses_is_read_all_the_same(text):
    plain, fast = json.loads(text), fast_json.load_json(text.encode())
    assert repr(fast) == repr(plain)


@pytest.mark.parametrize("value", ["\ud800", 1 << 70, {"a": [1, 2.5, "é", None]}])
def test_json_is_written_whatever_orjson_thinks_of_it(value, monkeypatch):
    for _ in range(2):
        data = fast_json.dump_json(value)
        assert b"\n" not in data
        assert json.loads(data) == fast_json.load_json(data) == value
        monkeypatch.setattr(fast_json, "orjson", None)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"a":}'])
def test_what_is_no_json_is_a_value_error(data, monkeypatch):
    for _ in range(2):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever the parser says
            fast_json.load_json(data)
        monkeypatch.setattr(fast_json, "orjson", None)


@given(st.text(max_size=30))
def test_a_prompt_is_filled_in_as_a_template_would(value):
    for prompt_id in prompt_ids():
        prompt = load_prompt(prompt_id)
        values = dict.fromkeys(prompt.inputs, value)
        assert prompt.render(values) == Template(prompt.text).substitute(values)


def test_percent_signs_and_dollars_of_a_prompt_stay():
    text = "100%, %s, %(a)s, $$5, ${a}"
    prompt = Prompt(id="p", inputs=("a",), output_schema=None, source="", text=text, sha256="")
    assert prompt.render({"a": "%(a)s $a"}) == "100%, %s, %(a)s, $5, %(a)s $a"


def test_probabilities_are_those_of_the_labels():
    body = reply_body("edit_score.v1", "abc")
    (probs,) = probabilities(body)
    assert math.isclose(sum(probs), 1)
