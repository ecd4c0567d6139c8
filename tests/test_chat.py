"""The chat client against servers that are slow, busy, broken, restarted, or just different."""

import asyncio
import base64
import json
import time
from contextlib import asynccontextmanager
from itertools import count

import pytest
from chain_cases import GOOD, bodies_of, chat_to, draw, question, script, seen
from stub_server import Behaviour, Refused, serve_stub

from pipelines import chat as chat_module
from pipelines.chat import (
    Chat,
    EndpointDown,
    RequestStuck,
    error_message,
    retry_after_s,
)
from pipelines.endpoints import EndpointPool, ServerState
from pipelines.questions import RequestRefused
from pipelines.replies import Reply

NOBODY = "http://127.0.0.1:9/v1"
TROUBLE = ("500", "502", "408", "drop", "drop_mid", "html", "garbage", "truncated", "no_choices")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    """A server in trouble is asked again at once: what is tested is who is asked, not when."""
    monkeypatch.setattr("pipelines.endpoints.LONGEST_PAUSE_S", 0.02)


@asynccontextmanager
async def served(*behaviours):
    """One stub a behaviour."""
    if not behaviours:
        yield []
        return
    async with serve_stub(behaviours[0]) as stub, served(*behaviours[1:]) as rest:
        yield [stub, *rest]


def with_one(work, behaviour=None, **settings):
    """Run `work(chat, stub)` with a client of one stub."""

    async def run():
        async with serve_stub(behaviour) as stub, chat_to(stub.url, **settings) as chat:
            return await work(chat, stub)

    return asyncio.run(run())


def with_two(work, first=None, second=None, **settings):
    """Run `work(chat, stubs)` with a client of two stubs."""

    async def run():
        async with (
            served(first or Behaviour(), second or Behaviour()) as stubs,
            chat_to(*(stub.url for stub in stubs), **settings) as chat,
        ):
            return await work(chat, stubs)

    return asyncio.run(run())


def pictures_asked(stub):
    return [(r.pictures_bytes, r.pictures_uuid) for r in stub.requests]


# What is sent.


def test_a_question_gets_its_reply_and_who_gave_it():
    async def work(chat, stub):
        reply, url = await chat.ask(question())
        assert isinstance(reply, Reply)
        assert url == stub.url
        assert json.loads(reply.choices[0].content)["score"] in (1, 2, 3, 4, 5)

    with_one(work)


def test_the_request_says_all_that_the_question_says(tmp_path):
    async def work(chat, stub):
        bodies = bodies_of(stub)
        picture = seen(draw(tmp_path / "a.png", 1))
        asked = {"temperature": 0.5, "top_p": 0.9, "seed": 7, "n": 2, "logprobs": True}
        await chat.ask(question("What?", system="Judge.", pictures=(picture,), **asked))
        body = bodies[0]
        assert body.items() >= {**asked, "model": "stub", "max_tokens": 800}.items()
        assert body["top_logprobs"] == 5
        assert body["chat_template_kwargs"] == {"enable_thinking": False}
        form = body["response_format"]["json_schema"]
        assert form["strict"]
        assert form["schema"]["additionalProperties"] is False
        system, user = body["messages"]
        assert system == {"role": "system", "content": "Judge."}
        assert [part["type"] for part in user["content"]] == ["image_url", "text"]
        url = user["content"][0]["image_url"]["url"]
        assert (
            base64.b64decode(url.removeprefix("data:image/png;base64,"))
            == (tmp_path / "a.png").read_bytes()
        )

    with_one(work, extra_body={"chat_template_kwargs": {"enable_thinking": False}})


def test_without_a_seed_or_pictures_none_are_sent():
    async def work(chat, stub):
        bodies = bodies_of(stub)
        await chat.ask(question('A "quoted"\ntext \ud83d\ude00'))
        assert "seed" not in bodies[0]
        assert "logprobs" not in bodies[0]
        assert bodies[0]["messages"] == [{"role": "user", "content": 'A "quoted"\ntext 😀'}]

    with_one(work)


def test_the_key_is_sent_with_every_request():
    async def work(chat, stub):
        await chat.ask(question())
        assert [r.outcome for r in stub.requests] == ["200"]

    with_one(work, Behaviour(api_key="k"), headers={"Authorization": "Bearer k"})


# Pictures.


def test_a_picture_is_sent_as_bytes_once_and_then_by_its_uuid(tmp_path):
    async def work(chat, stub):
        picture = seen(draw(tmp_path / "a.png", 1))
        first, _ = await chat.ask(question("one", pictures=(picture,)))
        again, _ = await chat.ask(question("one", pictures=(picture,)))
        await chat.ask(question("two", pictures=(picture,)))
        assert pictures_asked(stub) == [(1, 0), (0, 1), (0, 1)]
        assert first == again

    with_one(work)


def test_a_picture_that_the_server_forgot_is_sent_again(tmp_path):
    async def work(chat, stub):
        one, two = (seen(draw(tmp_path / f"{i}.png", i)) for i in (1, 2))
        for picture in (one, two, one):
            await chat.ask(question(pictures=(picture,)))
        assert pictures_asked(stub) == [(1, 0), (1, 0), (0, 1), (1, 0)]
        assert [r.outcome for r in stub.requests] == ["200", "200", "400", "200"]

    with_one(work, Behaviour(picture_cache=1))


@pytest.mark.parametrize("status", [400, 422, 500])
def test_any_way_to_say_that_a_picture_is_missing_is_understood(tmp_path, status):
    async def work(chat, stub):
        picture = seen(draw(tmp_path / "1.png", 1))
        for text in ("a", "b", "c"):
            await chat.ask(question(text, pictures=(picture,)))
        assert sum(asked == (1, 0) for asked in pictures_asked(stub)) == 3

    with_one(work, Behaviour(picture_cache=0, cache_miss_status=status, cache_miss_text="gone"))


def test_each_server_gets_the_bytes_itself(tmp_path):
    async def work(chat, stubs):
        picture = seen(draw(tmp_path / "a.png", 1))
        for _ in range(2):
            await asyncio.gather(
                *(chat.ask(question(f"{i}", pictures=(picture,))) for i in range(8))
            )
        for stub in stubs:
            assert pictures_asked(stub)[0] == (1, 0)
            assert pictures_asked(stub)[-1] == (0, 1)
            assert all(r.outcome == "200" for r in stub.requests)

    with_two(work, Behaviour(latency_s=(0.02, 0.02)), Behaviour(latency_s=(0.02, 0.02)))


def test_where_the_disk_is_shared_a_path_is_sent(tmp_path):
    async def work(chat, stub):
        bodies = bodies_of(stub)
        path = draw(tmp_path / "a picture.png", 1)
        await chat.ask(question(pictures=(seen(path),)))
        await chat.ask(question(pictures=(seen(path),)))
        parts = [body["messages"][0]["content"][0] for body in bodies]
        assert parts[0]["image_url"]["url"] == path.as_uri()
        assert parts[0]["image_url"]["url"].endswith("/a%20picture.png")
        assert parts[1]["image_url"] is None
        assert parts[0]["uuid"] == parts[1]["uuid"] == seen(path).sha256

    with_one(work, pictures="file")


@pytest.mark.parametrize("mode", ["bytes", "file"])
@pytest.mark.parametrize("change", ["vanished", "changed"])
def test_a_picture_that_is_not_as_it_was_is_the_rows_fault(tmp_path, mode, change):
    async def work(chat, stub):
        path = draw(tmp_path / "a.png", 1)
        picture = seen(path)
        if change == "vanished":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes() + b"x")
        with pytest.raises(RequestRefused, match=r"a\.png") as caught:
            await chat.ask(question(pictures=(picture,)))
        assert caught.value.reason == f"picture:{change}"
        assert stub.arrived == 0
        assert chat.pool.servers[0].in_flight == 0

    with_one(work, pictures=mode)


# Who is asked.


def test_the_server_with_the_most_room_is_asked():
    async def work(chat, stubs):
        await asyncio.gather(*(chat.ask(question(f"{i}")) for i in range(20)))
        assert [stub.arrived for stub in stubs] == [10, 10]

    with_two(work, Behaviour(latency_s=(0.1, 0.1)), Behaviour(latency_s=(0.1, 0.1)))


def test_a_slow_server_gets_less():
    async def work(chat, stubs):
        await asyncio.gather(*(chat.ask(question(f"{i}")) for i in range(40)))
        slow, fast = stubs
        assert slow.arrived <= 8 < fast.arrived

    slow, fast = Behaviour(latency_s=(0.5, 0.5)), Behaviour(latency_s=(0.02, 0.02))
    with_two(work, slow, fast, max_in_flight=4)


def test_follow_ups_go_where_the_picture_is(tmp_path):
    async def work(chat, stubs):
        for i in range(6):
            picture = seen(draw(tmp_path / f"{i}.png", i))
            ask = {"pictures": (picture,), "sticky": picture.sha256}
            _, home = await chat.ask(question("first", **ask))
            others = [chat.ask(question(f"follow-up {j}", **ask)) for j in range(5)]
            assert {url for _, url in await asyncio.gather(*others)} == {home}
        assert sum(r.pictures_bytes for stub in stubs for r in stub.requests) == 6

    with_two(work)


def test_a_follow_up_comes_before_new_work(tmp_path):
    async def work(chat, stub):
        bodies = bodies_of(stub)
        await chat.ask(question("first", sticky="p"))
        asks = [
            question("slow"),
            question("new 1"),
            question("new 2"),
            question("next", sticky="p"),
        ]
        await asyncio.gather(*(chat.ask(ask) for ask in asks))
        order = [body["messages"][0]["content"] for body in bodies]
        assert order == ["first", "slow", "next", "new 1", "new 2"]

    with_one(work, Behaviour(latency_s=(0.01, 0.01)), max_in_flight=1)


def test_follow_ups_move_when_their_server_fails(tmp_path):
    async def work(chat, stubs):
        picture = seen(draw(tmp_path / "a.png", 1))
        ask = {"pictures": (picture,), "sticky": picture.sha256}
        _, home = await chat.ask(question("first", **ask))
        broken, other = sorted(stubs, key=lambda stub: stub.url != home)
        broken.become(Behaviour(always="500"))
        for i in range(4):
            _, url = await chat.ask(question(f"{i}", **ask))
            assert url == other.url
        assert broken.arrived == 2
        assert pictures_asked(other)[:2] == [(1, 0), (0, 1)]

    with_two(work)


def test_no_more_are_in_flight_than_the_recipe_allows():
    async def work(chat, stub):
        await asyncio.gather(*(chat.ask(question(f"{i}")) for i in range(30)))
        assert stub.max_running == 4
        assert stub.arrived == 30
        assert chat.pool.servers[0].in_flight == 0

    with_one(work, Behaviour(latency_s=(0.01, 0.02)), max_in_flight=4)


def test_the_limit_rises_under_load_that_pays():
    async def work(chat, stub):
        numbers = count()

        async def keep_asking():
            while chat.pool.servers[0].window.limit == 32:
                await chat.ask(question(f"{next(numbers)}"))

        await asyncio.wait_for(asyncio.gather(*(keep_asking() for _ in range(60))), 15)
        await chat.ask(question("last"))
        # Doubled where the server shows an empty queue, else half as much again.
        assert chat.pool.servers[0].window.limit == (64 if stub.behaviour.metrics else 48)

    with_one(work, Behaviour(latency_s=(0.2, 0.3)), max_in_flight=64)
    with_one(work, Behaviour(latency_s=(0.2, 0.3), metrics=False), max_in_flight=64)


# A busy server.


@pytest.mark.parametrize("status", ["429", "503"])
def test_a_busy_server_is_asked_less_and_not_before_it_allows(status):
    async def work(chat, stub):
        started = time.monotonic()
        reply, _ = await chat.ask(question())
        assert reply.choices
        assert time.monotonic() - started >= 0.4
        assert [r.outcome for r in stub.requests] == [status, "200"]
        server = chat.pool.servers[0]
        assert server.window.limit == 16
        assert not server.in_trouble

    with_one(work, Behaviour(trouble=(status,), retry_after_s=0.4))


def test_a_storm_of_refusals_halves_the_limit_once():
    async def work(chat, stub):
        await asyncio.gather(*(chat.ask(question(f"{i}")) for i in range(32)))
        assert chat.pool.servers[0].window.limit == 16
        assert sum(r.outcome == "503" for r in stub.requests) >= 20

    with_one(work, Behaviour(busy_above=6, latency_s=(0.01, 0.05), retry_after_s=0.01))


def test_follow_ups_do_not_wait_for_a_busy_home(tmp_path):
    async def work(chat, stubs):
        _, home = await chat.ask(question("first", sticky="p"))
        busy, other = sorted(stubs, key=lambda stub: stub.url != home)
        busy.become(Behaviour(always="429", retry_after_s=60))
        asks = (chat.ask(question(f"{i}", sticky="p")) for i in range(5))
        done = await asyncio.wait_for(asyncio.gather(*asks), 5)
        assert {url for _, url in done} == {other.url}

    with_two(work)


def test_a_server_that_stays_busy_is_given_up_in_the_end():
    async def work(chat, stub):
        with pytest.raises(EndpointDown, match="429"):
            await asyncio.wait_for(chat.ask(question()), 5)
        assert stub.arrived >= 3

    with_one(work, Behaviour(always="429", retry_after_s=0.1), outage_timeout_s=0.3)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("2", 2.0), ("0.5", 0.5), ("-1", 0.0), ("9999", 300.0), ("nan", 0.0), ("soon", None)],
)
def test_retry_after_is_a_number_of_seconds_or_nothing(header, seconds):
    assert retry_after_s({"Retry-After": header}) == seconds
    assert retry_after_s({}) is None


# A server in trouble.


@pytest.mark.parametrize("kind", TROUBLE)
def test_trouble_of_the_server_is_waited_out(kind):
    async def work(chat, stub):
        reply, _ = await chat.ask(question())
        assert json.loads(reply.choices[0].content)["score"]
        assert stub.arrived == 3
        assert not chat.pool.servers[0].in_trouble

    with_one(work, Behaviour(trouble=(kind, kind)))


def test_a_server_that_never_answers_is_asked_again():
    async def work(chat, stub):
        await chat.ask(question())
        assert [r.outcome for r in stub.requests] == ["gone", "200"]

    with_one(work, Behaviour(trouble=("hang",)), timeout_s=0.3)


@pytest.mark.parametrize("kind", [*TROUBLE, "null"])
def test_the_other_server_takes_over(kind):
    async def work(chat, stubs):
        done = await asyncio.gather(*(chat.ask(question(f"{i}")) for i in range(12)))
        assert {url for _, url in done} == {stubs[1].url}

    with_two(work, Behaviour(always=kind))


def test_the_other_server_takes_over_where_nobody_listens():
    async def run():
        async with serve_stub() as stub, chat_to(NOBODY, stub.url) as chat:
            done = await asyncio.gather(*(chat.ask(question(f"{i}")) for i in range(12)))
            assert {url for _, url in done} == {stub.url}

    asyncio.run(run())


@pytest.mark.parametrize("kind", [*TROUBLE, "hang"])
def test_trouble_that_lasts_is_the_servers_fault_never_the_rows(kind):
    async def work(chat, stub):
        with pytest.raises(EndpointDown, match="see to the server and run again") as caught:
            await chat.ask(question())
        assert stub.url in str(caught.value)
        assert stub.arrived > 1

    with_one(work, Behaviour(always=kind), outage_timeout_s=0.3, timeout_s=0.2)


def test_a_restarted_server_is_sent_the_pictures_again(tmp_path):
    async def work(chat, stub):
        picture = seen(draw(tmp_path / "a.png", 1))
        await chat.ask(question(pictures=(picture,)))
        stub.become(Behaviour(trouble=("drop",)))
        await chat.ask(question(pictures=(picture,)))
        assert pictures_asked(stub) == [(1, 0), (0, 1), (1, 0)]

    with_one(work)


def test_a_server_in_trouble_gets_one_request_at_a_time():
    async def work(chat, stub):
        asks = [asyncio.ensure_future(chat.ask(question(f"{i}"))) for i in range(10)]
        while stub.arrived < 10 or stub.running:
            await asyncio.sleep(0.005)
        stub.max_running = 0
        async with asyncio.timeout(10):
            while stub.arrived <= 12:
                await asyncio.sleep(0.05)
        assert stub.max_running == 1
        stub.become(Behaviour(latency_s=(0.05, 0.05)))
        await asyncio.gather(*asks)
        assert stub.max_running > 1

    with_one(work, Behaviour(always="garbage", latency_s=(0.02, 0.02)))


def test_an_outage_is_measured_in_time_from_the_last_answer():
    async def work(chat, stub):
        answer = stub._reply

        def reply(body, *rest):
            if "doomed" in body["messages"][0]["content"] or stub.arrived > 2:
                raise Refused(500, "down")
            return answer(body, *rest)

        stub._reply = reply
        # The other one succeeds after this one began; then nobody does.
        doomed = asyncio.ensure_future(chat.ask(question("doomed")))
        await chat.ask(question("other"))
        last = time.monotonic()
        with pytest.raises(EndpointDown):
            await asyncio.wait_for(doomed, 10)
        assert 0.9 < time.monotonic() - last < 3
        assert stub.arrived > chat_module.MOST_FAILURES + 2

    with_one(work, outage_timeout_s=1.0)


def test_a_request_that_fails_while_others_succeed_ends_soon():
    async def work(chat, stub):
        answer, poisoned = stub._reply, []

        def reply(body, *rest):
            if "poison" in body["messages"][0]["content"]:
                poisoned.append(body)
                raise Refused(500, "CUDA error")
            return answer(body, *rest)

        stub._reply = reply
        ask = asyncio.ensure_future(chat.ask(question("poison")))
        numbers = count()
        while not ask.done():
            await asyncio.gather(*(chat.ask(question(f"{next(numbers)}")) for _ in range(3)))
        with pytest.raises(RequestStuck, match="CUDA error"):
            await ask
        assert chat_module.MOST_FAILURES <= len(poisoned) <= chat_module.MOST_FAILURES + 2

    with_one(work, outage_timeout_s=600)


# Requests that will never be answered.


def test_a_refused_request_is_not_sent_again():
    async def work(chat, stub):
        with pytest.raises(RequestRefused, match="refuse this row") as caught:
            await chat.ask(question())
        assert caught.value.reason == "request:refused"
        assert stub.arrived == 1
        assert not chat.pool.servers[0].in_trouble

    with_one(work, Behaviour(refuse_status_share=1.0))


def test_a_refusal_of_a_picture_by_uuid_is_tried_with_bytes_before_it_counts(tmp_path):
    async def work(chat, stub):
        picture = seen(draw(tmp_path / "a.png", 1))
        await chat.ask(question(pictures=(picture,)))
        stub.become(Behaviour(refuse_status_share=1.0))
        with pytest.raises(RequestRefused):
            await chat.ask(question(pictures=(picture,)))
        assert pictures_asked(stub) == [(1, 0), (0, 1), (1, 0)]

    with_one(work)


@pytest.mark.parametrize(
    "text",
    [
        Behaviour.too_long_text,
        "However, the model's context length is only {limit} tokens.",
        "The prompt is too long: {asked} tokens > {limit} maximum",
    ],
)
def test_a_prompt_past_the_models_length_is_recognised(text):
    async def work(chat, stub):
        with pytest.raises(RequestRefused, match="1000") as caught:
            await chat.ask(question("word " * 5000))
        assert caught.value.reason == "request:too_long"
        assert stub.arrived == 1

    with_one(work, Behaviour(max_model_len=1000, too_long_text=text))


@pytest.mark.parametrize(
    ("behaviour", "what"),
    [
        (Behaviour(api_key="secret"), "401 Unauthorized"),
        (Behaviour(models=("other",)), "404 The model `stub` does not exist"),
    ],
)
def test_a_wrong_key_or_model_ends_the_run_at_once(behaviour, what):
    async def work(chat, stub):
        with pytest.raises(EndpointDown, match=what) as caught:
            await chat.ask(question())
        assert "api_key_env" in str(caught.value)
        assert stub.arrived == 1

    with_one(work, behaviour, outage_timeout_s=600)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b'{"error":{"message":"no\\n good"}}', "no good"),
        (b'{"error":"Unauthorized"}', "Unauthorized"),
        (b'{"message":"flat"}', "flat"),
        (b"<html>502</html>", "<html>502</html>"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[1]", "[1]"),
        (b'{"error":{"message":"\\ud800"}}', "?"),
        (b"", ""),
    ],
)
def test_what_a_server_says_is_read_from_any_body(payload, message):
    assert error_message(payload) == message
    assert len(error_message(payload * 1000)) <= 300


# Nothing leaks.


def test_a_cancelled_request_gives_its_place_back():
    async def work(chat, stub):
        asks = [asyncio.ensure_future(chat.ask(question(f"{i}"))) for i in range(20)]
        await asyncio.sleep(0.1)
        assert stub.running == 4
        for ask in asks:
            ask.cancel()
        done = await asyncio.gather(*asks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in done)
        assert chat.pool.servers[0].in_flight == 0
        stub.become(Behaviour())
        await asyncio.wait_for(asyncio.gather(*(chat.ask(question(f"{i}")) for i in range(9))), 5)
        assert chat.pool.servers[0].in_flight == 0

    with_one(work, Behaviour(latency_s=(5, 5)), max_in_flight=4)


def test_one_cancelled_at_the_moment_of_its_turn_gives_it_to_the_next():
    async def work(chat, stub):
        pool = chat.pool
        held = await pool.acquire()
        second = asyncio.ensure_future(pool.acquire())
        third = asyncio.ensure_future(pool.acquire())
        await asyncio.sleep(0)
        pool.release(held)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert second.cancelled()
        pool.release(await asyncio.wait_for(third, 1))
        assert held.in_flight == 0

    with_one(work, max_in_flight=1)


def test_every_outcome_gives_its_place_back(tmp_path):
    async def work(chat, stub):
        trouble = ("500", "drop", "garbage", "429", "400", "html", "401")
        stub.become(Behaviour(trouble=trouble, retry_after_s=0.01))
        await asyncio.gather(
            *(chat.ask(question(f"{i}")) for i in range(12)), return_exceptions=True
        )
        assert chat.pool.servers[0].in_flight == 0

    with_one(work)


def test_every_request_sent_is_told_of(tmp_path):
    async def work(chat, stub):
        told = []
        chat._on_request = told.append
        picture = seen(draw(tmp_path / "a.png", 1))
        for _ in range(2):
            await chat.ask(question(pictures=(picture,)))
        assert told == [stub.url] * stub.arrived
        assert stub.arrived == 4

    with_one(work, Behaviour(picture_cache=0, trouble=("500",)))


def test_a_completion_with_odd_fields_is_still_a_reply():
    async def work(chat, stub):
        odd = {"prompt_tokens": "many", "completion_tokens": -1, "prompt_tokens_details": None}
        body = {"choices": [{"message": {"content": GOOD}, "finish_reason": "stop"}], "usage": odd}
        script(stub, json.dumps(body).encode())
        reply, _ = await chat.ask(question())
        assert (reply.prompt_tokens, reply.completion_tokens, reply.model) == (None, None, None)
        assert stub.arrived == 1

    with_one(work)


def test_a_launched_server_that_has_ended_is_not_waited_for():
    class Ended(Exception):
        pass

    def ended():
        raise Ended("exit code 1")

    async def work():
        server = ServerState(
            url="http://127.0.0.1:9/v1",
            headers={},
            pictures="bytes",
            max_in_flight=1,
            timeout_s=5,
            check_running=ended,
        )
        chat = Chat(EndpointPool([server]), model="m", extra_body={}, outage_timeout_s=600)
        try:
            with pytest.raises(Ended):
                await asyncio.wait_for(chat.ask(question()), 10)
        finally:
            await chat.pool.close()

    asyncio.run(work())
