"""The reply parser: whatever a server sends, no exception escapes and no score is made up."""

import contextlib
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.replies import (
    Choice,
    NotACompletion,
    Reply,
    ReplyInvalid,
    parse_choice,
    read_completion,
    score_probabilities,
)
from schemas import accepts, validator

GOOD = {"reasoning": "The car is red now.", "score": 4}


def choice(content, finish_reason="stop", **more):
    return Choice(content=content, finish_reason=finish_reason, **more)


def fault_of(bad, schema_id="edit_score.v1", exact_verdicts=None):
    with pytest.raises(ReplyInvalid) as caught:
        parse_choice(bad, schema_id, exact_verdicts)
    return caught.value


def completion(content, **choice_fields):
    message = {"role": "assistant", "content": content}
    one = {"index": 0, "message": message, "finish_reason": "stop", **choice_fields}
    return json.dumps({"model": "m", "choices": [one], "usage": {"prompt_tokens": 3}}).encode()


def test_a_good_reply_is_read():
    reply = read_completion(completion(json.dumps(GOOD)))
    assert parse_choice(reply.choices[0], "edit_score.v1") == GOOD
    assert (reply.model, reply.prompt_tokens, reply.completion_tokens) == ("m", 3, None)
    assert Reply.from_json(json.loads(json.dumps(reply.to_json()))) == reply


def test_a_reply_cut_short_is_rejected_even_if_its_text_is_whole():
    assert fault_of(choice(json.dumps(GOOD), "length")).reason == "reply:cut_short"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (choice(None), "reply:empty"),
        (choice(""), "reply:empty"),
        (choice(json.dumps(GOOD), None), "reply:unfinished"),
        (choice(json.dumps(GOOD), "tool_calls"), "reply:unfinished"),
        (choice(json.dumps(GOOD), "content_filter"), "reply:refused"),
        (choice(json.dumps(GOOD), refusal="I will not"), "reply:refused"),
        (choice("<think>hm</think>" + json.dumps(GOOD)), "reply:not_json"),
        (choice("```json\n" + json.dumps(GOOD) + "\n```"), "reply:not_json"),
        (choice('{"reasoning":"a","score":1,"score":5}'), "reply:not_json"),
        (choice('{"reasoning":"a","score":NaN}'), "reply:not_json"),
        (choice('{"reasoning":"half \\ud800","score":3}'), "reply:not_json"),
        (choice('{"reasoning":"bare half \ud800","score":3}'), "reply:not_json"),
        (choice('{"reasoning":"nul \\u0000","score":3}'), "reply:not_json"),
        (choice("[" * 100_000), "reply:not_json"),
        (choice('{"reasoning":"a","score":' + "9" * 5000 + "}"), "reply:not_json"),
        (choice('{"reasoning":"a","score":"[1/2/3/4/5]"}'), "reply:schema"),
        (choice('{"reasoning":"a","score":0}'), "reply:schema"),
        (choice('{"reasoning":"a","score":6}'), "reply:schema"),
        (choice('{"reasoning":"a","score":true}'), "reply:schema"),
        (choice('{"reasoning":"a","score":3.5}'), "reply:schema"),
        (choice('{"reasoning":"","score":3}'), "reply:schema"),
        (choice('{"reasoning":"' + "a" * 801 + '","score":3}'), "reply:schema"),
        (choice('{"reasoning":"a"}'), "reply:schema"),
        (choice('{"reasoning":"a","score":3,"extra":1}'), "reply:schema"),
        (choice("3"), "reply:schema"),
        (choice("null"), "reply:schema"),
    ],
)
def test_a_reply_that_cannot_be_used_says_why(bad, reason):
    assert fault_of(bad).reason == reason


def test_a_schema_fault_names_the_place():
    items = [{"kind": "subject", "question": "Is it red?", "critical": True} for _ in range(3)]
    items[2]["question"] = ""
    fault = fault_of(choice(json.dumps({"items": items})), "gen_checklist.v1")
    assert "gen_checklist.v1 at /items/2/question" in fault.fault


def verdicts(*ids):
    return {
        "verdicts": [{"id": i, "evidence": "seen", "verdict": "yes"} for i in ids],
        "reasoning": "It fits.",
        "score": 5,
    }


@pytest.mark.parametrize("ids", [("c1", "c2"), ("c1", "c3", "c2"), ("c1", "c2", "c3", "c4")])
def test_verdicts_must_be_those_of_the_checklist_in_its_order(ids):
    parse_choice(choice(json.dumps(verdicts("c1", "c2", "c3"))), "gen_score.v1", 3)
    assert fault_of(choice(json.dumps(verdicts(*ids))), "gen_score.v1", 3).reason == "reply:schema"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502</html>",
        b"{}",
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"choices": [{"message": {"content": "x"}}], "usage": 3}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_completion_is_the_servers_fault(body):
    with pytest.raises(NotACompletion):
        read_completion(body)


def at_score(*alternatives, token="4", tail=("}",)):
    top = [{"token": t, "logprob": p} for t, p in alternatives]
    before = {"token": '"score":', "logprob": 0.0, "top_logprobs": []}
    after = [{"token": t, "logprob": 0.0, "top_logprobs": []} for t in tail]
    score = {"token": token, "logprob": -1.0, "top_logprobs": top}
    return {"content": [before, score, *after]}


def probs_of(logprobs, content='"score":4}'):
    return score_probabilities(logprobs, content)


EVEN = [(str(s), math.log(0.2)) for s in range(1, 6)]


def test_the_label_probabilities_are_read_at_the_score_token():
    assert probs_of(at_score(*EVEN)) == pytest.approx([0.2] * 5)
    spread = [("1", -9999.0), ("2", -9999.0), ("3", math.log(0.25)), ("4", math.log(0.75))]
    for end in ("<|im_end|>", "</s>", "<end_of_turn>", ""):
        probs = probs_of(at_score(*spread, ("5", -9999.0), tail=("}", end)))
        assert probs == pytest.approx([0, 0, 0.25, 0.75, 0])


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        {"content": None},
        {"content": []},
        {"content": [None]},
        {"content": [{"token": 5}]},
        at_score(*EVEN[:4]),
        at_score(*EVEN[:4], ("six", -1.0)),
        at_score(*[(s, -5.0) for s, _ in EVEN]),
        at_score(*[(s, math.nan) for s, _ in EVEN]),
        at_score(*[(s, 3.0) for s, _ in EVEN]),
        at_score(*[(s, None) for s, _ in EVEN]),
        at_score(*EVEN, token="4}", tail=()),
    ],
)
def test_probabilities_that_cannot_be_read_are_none_not_invented(logprobs):
    assert probs_of(logprobs) is None


def test_tokens_of_another_reply_are_not_read():
    assert probs_of(at_score(*EVEN), content='"score":4} and more') is None
    assert probs_of(at_score(*EVEN), content="") is None
    assert probs_of(at_score(*EVEN, tail=("}", " done")), content='"score":4} done') is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=20,
)
near_misses = st.fixed_dictionaries(
    {}, optional={"reasoning": json_values, "score": json_values, "more": json_values}
)


@st.composite
def mangled(draw):
    """A good reply, cut, doubled, spliced with noise, or something else altogether."""
    text = draw(st.sampled_from([json.dumps(GOOD), json.dumps(verdicts("c1", "c2", "c3"))]))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, len(text)))
        noise = draw(st.sampled_from(["", '"', "}", "\\u0000", "5", "[1/2/3/4/5]", "<think>"]))
        text = text[:start] + noise + text[end:]
    return draw(
        st.sampled_from([text, draw(st.text()), json.dumps(draw(json_values | near_misses))])
    )


@settings(max_examples=600, deadline=None)
@given(
    content=mangled() | st.none(),
    finish_reason=st.sampled_from(["stop", "stop", "stop", "length", "content_filter", None]),
    schema=st.sampled_from([("edit_score.v1", None), ("gen_score.v1", 3), ("gen_score.v1", None)]),
    logprobs=json_values | st.just(at_score(*EVEN)),
)
def test_no_mangled_reply_escapes_or_becomes_a_score_outside_1_to_5(
    content, finish_reason, schema, logprobs
):
    body = completion(content, finish_reason=finish_reason, logprobs=logprobs)
    reply = read_completion(body)
    probs = reply.choices[0].score_probs
    assert probs is None or (len(probs) == 5 and math.isclose(sum(probs), 1))
    try:
        value = parse_choice(reply.choices[0], *schema)
    except ReplyInvalid:
        pass
    else:
        assert finish_reason == "stop"
        assert value["score"] in (1, 2, 3, 4, 5)
        assert not isinstance(value["score"], bool)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_both_validators_of_a_schema_agree(data):
    """The fast one says yes or no, the other says why not: they must be of one mind."""
    schema_id, exact = data.draw(
        st.sampled_from([("edit_score.v1", None), ("gen_score.v1", 3), ("gen_score.v1", None)])
    )
    value = data.draw(near_misses | json_values | st.just(verdicts("c1", "c2", "c3")))
    if isinstance(value, dict):
        key = data.draw(st.sampled_from([*value, "score"]))
        value = {**value, key: data.draw(st.just(value.get(key)) | json_values)}
    assert accepts(schema_id, exact)(value) == validator(schema_id, exact).is_valid(value)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | json_values.map(lambda v: json.dumps(v).encode()))
def test_no_mangled_body_escapes(body):
    with contextlib.suppress(NotACompletion):
        read_completion(body)
