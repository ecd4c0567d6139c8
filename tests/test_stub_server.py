"""The fake itself: what other tests rest on."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import aiohttp
import pytest
from stub_server import Behaviour, Stub, serve_stub, stub_process

from schemas import request_schema, validator

_SCHEMAS = [
    ("gen_checklist.v1", None),
    ("edit_differences.v1", None),
    ("edit_score.v1", None),
    ("gen_score.v1", None),
    ("gen_score.v1", 3),
    ("gen_score.v1", 12),
]


def _body(text: str, schema: Any = None, **more: Any) -> dict[str, Any]:
    form = {"name": "edit_score", "schema": schema or request_schema("edit_score.v1")}
    return {
        "model": "stub",
        "messages": [{"role": "user", "content": text}],
        "response_format": {"type": "json_schema", "json_schema": form},
        **more,
    }


async def _post(url: str, body: dict[str, Any]) -> tuple[int, dict[str, str], str]:
    timeout = aiohttp.ClientTimeout(total=10)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(url + "/chat/completions", json=body) as reply,
    ):
        return reply.status, dict(reply.headers), await reply.text()


def _ask(behaviour: Behaviour, *bodies: dict[str, Any]) -> list[tuple[int, dict[str, str], str]]:
    return _ask_and_log(behaviour, *bodies)[0]


def _ask_and_log(behaviour: Behaviour, *bodies: dict[str, Any]) -> tuple[list[Any], Stub]:
    async def run() -> tuple[list[Any], Stub]:
        async with serve_stub(behaviour) as stub:
            return [await _post(stub.url, body) for body in bodies], stub

    return asyncio.run(run())


def _content(answer: tuple[int, dict[str, str], str], choice: int = 0) -> str:
    return json.loads(answer[2])["choices"][choice]["message"]["content"]


@pytest.mark.parametrize(("schema_id", "exact"), _SCHEMAS)
def test_a_filled_reply_satisfies_its_schema(schema_id: str, exact: int | None) -> None:
    schema = request_schema(schema_id, exact)
    for answer in _ask(Behaviour(), *(_body(f"row {i}", schema) for i in range(40))):
        assert answer[0] == 200
        validator(schema_id, exact).validate(json.loads(_content(answer)))


def test_a_reply_depends_on_content_alone() -> None:
    bodies = [_body(f"row {i}") for i in range(10)]
    forward = _ask(Behaviour(), *bodies)
    backward = _ask(Behaviour(), *reversed(bodies))
    assert [a[2] for a in forward] == [a[2] for a in reversed(backward)]
    assert len({_content(a) for a in forward}) > 5


def test_a_uuid_stands_for_the_bytes_sent_with_it() -> None:
    def body(url: str | None) -> dict[str, Any]:
        picture = {"url": url} if url else None
        parts = [
            {"type": "image_url", "image_url": picture, "uuid": "p1"},
            {"type": "text", "text": "what"},
        ]
        return {**_body(""), "messages": [{"role": "user", "content": parts}]}

    answers, stub = _ask_and_log(
        Behaviour(), body(None), body("data:image/png;base64,AA=="), body(None)
    )
    assert [a[0] for a in answers] == [400, 200, 200]
    assert "Cache miss" in answers[0][2]
    assert answers[1][2] == answers[2][2]
    assert [(r.pictures_bytes, r.pictures_uuid) for r in stub.requests] == [(0, 1), (1, 0), (0, 1)]


def test_logprobs_join_to_the_content_and_the_score_has_five_labels() -> None:
    answer = _ask(Behaviour(), _body("a", logprobs=True, top_logprobs=5, n=3, temperature=1.0))[0]
    for choice in json.loads(answer[2])["choices"]:
        entries = choice["logprobs"]["content"]
        content = choice["message"]["content"]
        assert "".join(e["token"] for e in entries) == content
        score = entries[-2]
        assert score["token"] == str(json.loads(content)["score"])
        assert {t["token"] for t in score["top_logprobs"]} == set("12345")
        assert math.isclose(sum(math.exp(t["logprob"]) for t in score["top_logprobs"]), 1)


def test_the_row_of_a_retry_is_the_row_and_its_fault_can_end() -> None:
    retry = "a\n\nYour previous reply could not be used: x. Reply again."
    answers, stub = _ask_and_log(
        Behaviour(violate_share=1.0, fault_attempts=1), _body("a"), _body(retry)
    )
    first, second = stub.requests
    assert first.row == second.row
    assert first.digest != second.digest
    assert (first.attempt, second.attempt) == (1, 2)
    assert (first.fault, second.fault) == ("violate", None)
    judge = validator("edit_score.v1")
    assert not judge.is_valid(json.loads(_content(answers[0])))
    assert judge.is_valid(json.loads(_content(answers[1])))


def test_content_faults_look_as_they_should() -> None:
    cut = _ask(Behaviour(length_share=1.0), _body("a"))[0]
    assert json.loads(cut[2])["choices"][0]["finish_reason"] == "length"
    for share in ("invalid_json_share", "refuse_share", "empty_share", "length_share"):
        broken = _ask(Behaviour(**{share: 1.0}), _body("a"))[0]
        with pytest.raises(json.JSONDecodeError):
            json.loads(_content(broken))
    rows = [_body(f"row {i}") for i in range(200)]
    _, stub = _ask_and_log(Behaviour(violate_share=0.25), *rows)
    assert 25 < sum(r.fault == "violate" for r in stub.requests) < 75


def test_trouble_comes_in_order_and_then_ends() -> None:
    behaviour = Behaviour(trouble=("503", "html", "garbage", "truncated"), retry_after_s=2)
    answers = _ask(behaviour, *(_body("a") for _ in range(5)))
    assert [a[0] for a in answers] == [503, 200, 200, 200, 200]
    assert answers[0][1]["Retry-After"] == "2"
    for answer in answers[1:4]:
        with pytest.raises(json.JSONDecodeError):
            json.loads(answer[2])
    assert json.loads(answers[4][2])["choices"]


@pytest.mark.parametrize("kind", ["drop", "drop_mid"])
def test_a_dropped_connection_is_seen_as_one(kind: str) -> None:
    with pytest.raises(aiohttp.ClientError):
        _ask(Behaviour(always=kind), _body("a"))


def test_slots_queue_and_the_high_water_mark_is_kept() -> None:
    async def run() -> None:
        async with serve_stub(Behaviour(slots=2, latency_s=(0.05, 0.05))) as stub:
            waiting = asyncio.gather(*(_post(stub.url, _body(f"{i}")) for i in range(8)))
            await asyncio.sleep(0.03)
            async with (
                aiohttp.ClientSession() as session,
                session.get(stub.url.removesuffix("/v1") + "/metrics") as reply,
            ):
                metrics = await reply.text()
            await waiting
            assert stub.max_running == 8
            assert 'num_requests_waiting{engine="0"} 6.0' in metrics

    asyncio.run(run())


def test_wrong_model_long_prompt_and_missing_key_are_refused_like_vllm() -> None:
    other = {**_body("a"), "model": "other"}
    assert _ask(Behaviour(), other)[0][0] == 404
    status, _, text = _ask(Behaviour(max_model_len=100), _body("word " * 500))[0]
    assert status == 400
    assert "maximum context length is 100 tokens" in text
    assert _ask(Behaviour(api_key="k"), _body("a"))[0][0] == 401


def test_a_stub_process_is_killed_started_and_changed() -> None:
    with stub_process(latency_s=[0, 0]) as stub:
        before = asyncio.run(_post(stub.url, _body("a")))
        stub.kill()
        stub.start()
        assert asyncio.run(_post(stub.url, _body("a")))[2] == before[2]
        stub.become(trouble=["500"])
        assert asyncio.run(_post(stub.url, _body("a")))[0] == 500
        assert [r["outcome"] for r in stub.requests()] == ["200", "200", "500"]
        assert stub.log()["counts"] == {"edit_score": 2}
