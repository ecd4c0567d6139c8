"""One answer: whatever is replied, it ends as one row, ok with a given score or rejected."""

import asyncio
import json
import math
from contextlib import asynccontextmanager

import pyarrow as pa
import pytest
from chain_cases import GOOD, chat_to, completion, draw, make_stages, question, script, seen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stub_server import Behaviour, Refused, serve_stub

from pipelines.answers import get_answer, reusable
from pipelines.chat import Chat, EndpointDown, RequestStuck
from pipelines.journal import Journal
from pipelines.tables import table_schema

CUT = {"content": GOOD[:20], "finish_reason": "length"}
# Not in a sample of 1%.
ANSWER = "a1" * 16
SCORE_9 = GOOD.replace("4", "9")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr("pipelines.endpoints.LONGEST_PAUSE_S", 0.001)


def execution(**settings):
    return make_stages("edit", edit_scores=settings)["execution"]


@asynccontextmanager
async def opened(path):
    journal = Journal(path)
    try:
        yield journal
    finally:
        journal.close()


async def get(stub, path, stage, *, earlier=None, ask=None):
    async with chat_to(stub.url) as chat, opened(path) as journal:
        return await get_answer(
            ask or question(temperature=stage.sampling["temperature"]),
            answer_id=ANSWER,
            stage=stage,
            chat=chat,
            journal=journal,
            earlier=earlier,
        )


def answer(path, stage, *replies, earlier=None, behaviour=None, ask=None):
    """The row for these replies, and the bodies of the requests that asked for them."""

    async def run():
        async with serve_stub(behaviour) as stub:
            bodies = script(stub, *replies) if behaviour is None else []
            return await get(stub, path, stage, earlier=earlier, ask=ask), bodies

    return asyncio.run(run())


def user_text(body):
    return body["messages"][-1]["content"]


def test_a_good_reply_is_an_ok_row_with_its_provenance(path):
    row, bodies = answer(path, execution(seed=5), GOOD)
    assert row["status"] == "ok"
    assert (row["score"], row["reasoning"], row["attempts"]) == (4, "It is red.", 1)
    assert (row["vote_scores"], row["vote_spread"]) == ([4], 0)
    assert row["score_probs"] is row["score_expected"] is None
    assert (row["prompt_tokens"], row["completion_tokens"]) == (10, 5)
    assert row["model"] == row["asked_model"] == "stub"
    assert row["prompt_id"] == "edit_execution.v1"
    assert row["finish_reason"] == "stop"
    assert len(bodies) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (CUT, "reply:cut_short"),
        ({"refusal": "No."}, "reply:refused"),
        ({"content": GOOD, "finish_reason": "content_filter"}, "reply:refused"),
        ({"content": GOOD, "finish_reason": None}, "reply:unfinished"),
        ("", "reply:empty"),
        ("I would say 4 of 5.", "reply:not_json"),
        (GOOD + GOOD, "reply:not_json"),
        (SCORE_9, "reply:schema"),
        ('{"score":4}', "reply:schema"),
    ],
)
def test_a_bad_reply_is_asked_again_with_its_fault_and_then_rejected(path, bad, reason):
    row, bodies = answer(path, execution(attempts=3, seed=11), bad, bad, bad)
    assert (row["status"], row["reason"], row["attempts"]) == ("rejected", reason, 3)
    assert row.get("score") is None
    content = bad.get("content") or bad.get("refusal") if isinstance(bad, dict) else bad
    assert row["raw_reply"] == content
    assert len(row["faults"]) == 3
    assert all(fault.startswith(reason) for fault in row["faults"])
    assert "attempt 3 of 3" in row["detail"]
    assert [body["seed"] for body in bodies] == [11, 12, 13]
    assert [body["temperature"] for body in bodies] == [0.0, 0.3, 0.3]
    first, second, _ = map(user_text, bodies)
    assert second.startswith(first)
    assert row["faults"][0] in second
    assert row["completion_tokens"] == 15


def test_a_second_good_reply_is_ok_and_keeps_the_first_fault(path):
    row, bodies = answer(path, execution(attempts=3), CUT, GOOD)
    assert (row["status"], row["score"], row["attempts"]) == ("ok", 4, 2)
    assert [fault.split(":")[1] for fault in row["faults"]] == ["cut_short"]
    assert row["raw_reply"] is None
    assert len(bodies) == 2
    assert "seed" not in bodies[1]


LEAK = GOOD.replace("It is red.", "It is red, as the difference report says.")


def test_a_rationale_that_cites_what_is_hidden_is_asked_again_with_the_words_named(path):
    hiding = question(hidden="At a glance:\n- colour: car: blue -> red", visible="Make it red.")
    row, bodies = answer(path, execution(attempts=3), LEAK, GOOD, ask=hiding)
    assert (row["status"], row["reasoning"], row["attempts"]) == ("ok", "It is red.", 2)
    assert row["faults"][0].startswith("reply:leak: ")
    assert "'difference report'" in user_text(bodies[1])


def test_one_that_keeps_citing_it_is_an_answer_for_a_gate_to_reject(path):
    hiding = question(hidden="- colour: car: blue -> red", visible="Make it red.")
    row, bodies = answer(path, execution(attempts=2), LEAK, LEAK, ask=hiding)
    assert (row["status"], row["score"], row["attempts"]) == ("ok", 4, 2)
    assert "difference report" in row["reasoning"]
    assert [fault.split(":")[1] for fault in row["faults"]] == ["leak"]
    assert len(bodies) == 2


def test_a_reply_to_a_question_that_hides_nothing_may_say_anything(path):
    row, _ = answer(path, execution(), LEAK)
    assert row["status"] == "ok"


def test_a_higher_temperature_is_kept_when_asking_again(path):
    _, bodies = answer(path, execution(temperature=0.8), CUT, GOOD)
    assert [body["temperature"] for body in bodies] == [0.8, 0.8]


def test_one_attempt_is_one_request(path):
    row, bodies = answer(path, execution(attempts=1), CUT)
    assert row["status"] == "rejected"
    assert len(bodies) == 1


def test_the_label_probabilities_stand_in_the_row(path):
    row, _ = answer(path, execution(), behaviour=Behaviour())
    assert row["score_probs"] is None  # the question did not ask for logprobs

    async def run():
        async with serve_stub() as stub:
            ask = question(logprobs=True)
            return await get(stub, path.with_name("2"), execution(), ask=ask)

    row = asyncio.run(run())
    assert sum(row["score_probs"]) == pytest.approx(1)
    assert row["score_expected"] == pytest.approx(
        sum(s * p for s, p in enumerate(row["score_probs"], 1))
    )


# Votes.


def scored(score, reasoning="Because."):
    return json.dumps({"reasoning": reasoning, "score": score})


def test_votes_are_asked_at_once_and_the_majority_is_the_score(path):
    votes = [scored(2, "low"), scored(5, "first"), scored(5, "second")]
    row, bodies = answer(path, execution(votes=3, temperature=1.0), votes)
    assert [body["n"] for body in bodies] == [3]
    assert (row["score"], row["reasoning"]) == (5, "first")
    assert row["vote_scores"] == [2, 5, 5]
    assert row["vote_spread"] == pytest.approx(2**0.5)


def test_only_the_missing_votes_are_asked_again(path):
    stage = execution(votes=4, temperature=1.0, seed=1)
    row, bodies = answer(
        path, stage, [scored(1), SCORE_9, scored(3), CUT], [scored(3), "?"], [scored(5)]
    )
    assert [body["n"] for body in bodies] == [4, 2, 1]
    assert row["vote_scores"] == [1, 3, 3, 5]
    assert (row["status"], row["score"], row["attempts"]) == ("ok", 3, 3)
    assert len(row["faults"]) == 2


def test_too_few_votes_are_rejected_and_give_no_score(path):
    stage = execution(votes=3, temperature=1.0, attempts=2)
    row, bodies = answer(path, stage, [scored(5), SCORE_9, SCORE_9], ["?", CUT])
    assert (row["status"], row["reason"]) == ("rejected", "reply:not_json")
    assert "1 of 3 votes usable" in row["detail"]
    assert row["raw_reply"] == "?"
    assert row.get("score") is None
    assert row.get("vote_scores") is None
    assert [body["n"] for body in bodies] == [3, 2]


def test_a_server_that_gives_fewer_replies_is_asked_for_the_rest(path):
    stage = execution(votes=3, temperature=1.0, attempts=3)
    row, bodies = answer(path, stage, [scored(5)], [scored(4)], [scored(4)])
    assert [body["n"] for body in bodies] == [3, 2, 1]
    assert (row["status"], row["score"]) == ("ok", 4)


def test_more_replies_than_asked_for_do_not_vote(path):
    row, _ = answer(path, execution(votes=2, temperature=1.0), [scored(1), scored(1), scored(5)])
    assert row["vote_scores"] == [1, 1]


# Requests that are refused.


def test_a_refused_request_is_a_rejected_row_that_the_next_run_asks_anew(path):
    behaviour = Behaviour(refuse_status_share=1.0)
    row, _ = answer(path, execution(attempts=3), behaviour=behaviour)
    assert (row["status"], row["reason"], row["attempts"]) == ("rejected", "request:refused", 1)
    assert "refuse this row" in row["detail"]
    assert row["raw_reply"] is None
    assert not reusable(row, execution(attempts=1))


def test_a_vanished_picture_is_a_rejected_row_until_it_is_back(path, tmp_path):
    file = draw(tmp_path / "a.png", 1)
    data, ask = file.read_bytes(), question(pictures=(seen(file),))

    async def run(earlier):
        async with serve_stub() as stub:
            return await get(stub, path, execution(attempts=1), earlier=earlier, ask=ask)

    file.unlink()
    row = asyncio.run(run(None))
    assert (row["status"], row["reason"]) == ("rejected", "picture:vanished")
    assert not reusable(row, execution(attempts=1))
    file.write_bytes(data)
    row = asyncio.run(run(row))
    assert (row["status"], row["attempts"], row["faults"]) == ("ok", 1, [])


# Any reply at all.

_TEXT = st.one_of(
    st.sampled_from([GOOD, SCORE_9, "", "null", "[]", "4", "{}", GOOD[:-1], GOOD + "}"]),
    st.sampled_from(
        ["NaN", "Infinity", "1e999", "true", "4.0", "4.5", '"4"', "[4]", "-4", "9" * 5000]
    ).map(lambda score: '{"reasoning":"x","score":' + score + "}"),
    st.text().map(lambda text: json.dumps({"reasoning": text, "score": 3})),
    st.sampled_from(["\\ud800", "\\u0000", "\\u0041"]).map(
        lambda code: '{"reasoning":"' + code + '","score":2}'
    ),
    st.text(),
    st.none(),
)
_CHOICE = st.fixed_dictionaries(
    {"content": _TEXT},
    optional={
        "finish_reason": st.sampled_from(
            ["stop", "stop", "stop", "length", "abort", None, "\ud800"]
        ),
        "refusal": st.sampled_from([None, None, "No.", "\ud800"]),
    },
)
_LOGPROB = st.one_of(st.floats(), st.none(), st.just(-(10**400)), st.text(max_size=2))
_ODD = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["other", None, 7, "\ud800"]),
        "usage": st.sampled_from(
            [
                None,
                {},
                {"prompt_tokens": "x"},
                {"completion_tokens": 10**30},
                {"prompt_tokens": 1.5},
            ]
        ),
    },
)


@st.composite
def replies(draw):
    choices = draw(st.lists(_CHOICE, min_size=0, max_size=4))
    body = json.loads(completion(choices, **draw(_ODD)))
    for choice in body["choices"]:
        if draw(st.integers(0, 3)) == 0:
            top = [{"token": t, "logprob": draw(_LOGPROB)} for t in "12345"]
            tokens = [{"token": "4", "top_logprobs": top}, {"token": "}"}]
            choice["logprobs"] = {"content": tokens}
    return json.dumps(body).encode()


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(given_replies=st.lists(replies(), max_size=5), votes=st.sampled_from([1, 3]))
def test_any_replies_end_in_one_row_that_the_table_can_hold(given_replies, votes, tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    stage = execution(votes=votes, temperature=1.0, attempts=2)
    row, _ = answer(path, stage, *given_replies)
    assert row["status"] in ("ok", "rejected")
    schema = table_schema("edit_scores")
    pa.table({name: [row.get(name)] for name in schema.names}, schema=schema)
    if row["status"] == "ok":
        assert row["score"] in (1, 2, 3, 4, 5)
        assert row["score"] in row["vote_scores"]
        assert len(row["vote_scores"]) == votes
        assert set(row["vote_scores"]) <= {1, 2, 3, 4, 5}
        assert row["reason"] is None
    else:
        assert row["reason"].startswith("reply:")
        assert row["attempts"] == len(row["faults"]) == 2
        assert row.get("score") is None
    for probability in row.get("score_probs") or []:
        assert 0 <= probability <= 1
    # The journal alone gives the same row: nothing is asked for it again.
    again, asked = answer(path, stage)
    assert asked == []
    assert again == row


# Interrupted anywhere.


@pytest.mark.parametrize("finished", range(4))
def test_a_finished_reply_is_never_asked_for_again(path, finished):
    stage = execution(votes=3, temperature=1.0, attempts=4, seed=1)
    given = [[scored(1), CUT, CUT], ["?", scored(2)], [SCORE_9], [scored(2)]]

    async def run():
        async with serve_stub() as stub:
            whole = await get(stub, path.with_name("whole"), stage)
            bodies = script(stub, *given)
            scripted = stub._reply

            def reply(*body):
                if len(bodies) == finished:
                    raise Refused(401, "the run is stopped here")
                return scripted(*body)

            stub._reply = reply
            with pytest.raises(EndpointDown):
                await get(stub, path, stage)
            assert len(bodies) == finished
            stub._reply = scripted
            row = await get(stub, path, stage)
            return whole, row, bodies

    _, row, bodies = asyncio.run(run())
    assert [body["n"] for body in bodies] == [3, 2, 1, 1]
    assert [body["seed"] for body in bodies] == [1, 2, 3, 4]
    assert (row["score"], row["vote_scores"], row["attempts"]) == (2, [1, 2, 2], 4)
    assert len(row["faults"]) == 3


def test_a_row_rejected_before_is_asked_again_only_when_more_attempts_are_allowed(path):
    rejected, _ = answer(path, execution(attempts=2), CUT, SCORE_9)
    assert reusable(rejected, execution(attempts=2))
    assert reusable(rejected, execution(attempts=1))
    assert not reusable(rejected, execution(attempts=4))
    stage = execution(attempts=4, seed=1)
    row, bodies = answer(path.with_name("new"), stage, "?", GOOD, earlier=rejected)
    assert [body["seed"] for body in bodies] == [3, 4]
    assert rejected["faults"][1] in user_text(bodies[0])
    assert (row["status"], row["attempts"], len(row["faults"])) == ("ok", 4, 3)
    assert row["completion_tokens"] == 20


def test_a_journal_left_over_from_before_does_not_use_up_new_attempts(path):
    rejected, _ = answer(path, execution(attempts=2), CUT, CUT)
    row, bodies = answer(path, execution(attempts=3), GOOD, earlier=rejected)
    assert len(bodies) == 1
    assert (row["status"], row["attempts"]) == ("ok", 3)


def test_an_ok_row_stands_whatever_the_attempts(path):
    row, _ = answer(path, execution(attempts=3), CUT, GOOD)
    assert reusable(row, execution(attempts=9))


def free_reply(*alternatives):
    tokens = [{"token": token, "logprob": math.log(p)} for token, p in alternatives]
    logprobs = {"content": [{"token": "4", "logprob": -0.1, "top_logprobs": tokens}]}
    return {"content": "4", "finish_reason": "length", "logprobs": logprobs}


def test_a_sampled_answer_is_asked_for_one_free_token_from_just_before_its_score(path):
    free = free_reply(("4", 0.5), ("5", 0.25), (" 5", 0.125), ("four", 0.125))
    row, bodies = answer(path, execution(label_mass_share=1.0), GOOD, free)
    assert row["label_mass"] == pytest.approx(0.875)
    first, more = bodies
    assert more["messages"][:-1] == first["messages"]
    assert more["messages"][-1] == {"role": "assistant", "content": GOOD.split("4")[0]}
    assert more["continue_final_message"]
    assert not more["add_generation_prompt"]
    assert (more["max_tokens"], more["top_logprobs"]) == (1, 20)
    assert "response_format" not in more
    assert "continue_final_message" not in first
    # The score is what was given under the form, whatever the free token says.
    assert (row["status"], row["score"], row["attempts"]) == ("ok", 4, 1)


@pytest.mark.parametrize(
    "free",
    [
        {"content": "four", "finish_reason": "length"},
        {**free_reply(), "content": "four"},
        # A server that passes the option over begins a reply of its own.
        {
            "content": "{",
            "finish_reason": "length",
            "logprobs": {
                "content": [
                    {
                        "token": "{",
                        "logprob": 0.0,
                        "top_logprobs": [{"token": "{", "logprob": 0.0}],
                    }
                ]
            },
        },
        Refused(400, "no such option"),
    ],
)
def test_a_server_that_does_not_tell_leaves_the_answer_as_it_is(path, free):
    row, bodies = answer(path, execution(label_mass_share=1.0), GOOD, free)
    assert len(bodies) == 2
    assert (row["status"], row["score"], row["label_mass"]) == ("ok", 4, None)


def test_a_server_that_fails_at_the_free_token_alone_does_not_hold_up_the_answer(path, monkeypatch):
    async def stuck(chat, question):
        if question.begun is None:
            return await ask(chat, question)
        raise RequestStuck("always a 500")

    ask = Chat.ask
    monkeypatch.setattr(Chat, "ask", stuck)
    row, _ = answer(path, execution(label_mass_share=1.0), GOOD)
    assert (row["status"], row["score"], row["label_mass"]) == ("ok", 4, None)


def test_no_more_is_asked_for_a_share_of_nothing(path):
    row, bodies = answer(path, execution(label_mass_share=0.0), GOOD)
    assert len(bodies) == 1
    assert row.get("label_mass") is None
