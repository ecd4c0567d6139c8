"""The start-up probe: each way in which an endpoint can be unfit is seen and named."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import Any

import aiohttp
import pytest
from stub_server import Behaviour, serve_stub

from pipelines.probe import (
    EndpointUnfit,
    EndpointUnreachable,
    ProbeReport,
    probe_endpoint,
    require,
)


def _probe(
    behaviour: Behaviour,
    *,
    model: str = "stub",
    pictures: int = 2,
    timeout_s: float = 5,
    **more: Any,
) -> tuple[ProbeReport, int]:
    async def run() -> tuple[ProbeReport, int]:
        async with serve_stub(behaviour) as stub, aiohttp.ClientSession() as session:
            report = await probe_endpoint(
                session,
                url=stub.url,
                model=model,
                headers=more.get("headers", {}),
                extra_body=more.get("extra_body", {}),
                needs_pictures=pictures > 0,
                pictures=pictures,
                timeout_s=timeout_s,
            )
            return report, stub.arrived

    return asyncio.run(run())


def _fault(report: ProbeReport, *, model: str = "stub") -> str:
    with pytest.raises(EndpointUnfit) as unfit:
        require(report, url="http://host:1/v1", model=model, needs_pictures=True)
    assert "http://host:1/v1" in str(unfit.value)
    return str(unfit.value)


def test_a_fit_server_is_known_after_one_request() -> None:
    report, requests = _probe(Behaviour(max_model_len=4096))
    assert requests == 1
    assert report == ProbeReport(
        reachable=True,
        serves_model=True,
        models=("stub",),
        constrains_output=True,
        takes_pictures=True,
        gives_logprobs=True,
        max_model_len=4096,
        server_version="0.0.stub",
        has_metrics=True,
    )
    assert json.loads(json.dumps(asdict(report)))["models"] == ["stub"]
    require(report, url="u", model="stub", needs_pictures=True)


def test_pictures_are_not_asked_about_where_none_are_needed() -> None:
    report, requests = _probe(Behaviour(takes_pictures=False), pictures=0)
    assert (report.takes_pictures, requests) == (None, 1)
    require(report, url="u", model="stub", needs_pictures=False)


def test_a_server_that_ignores_the_schema_is_unfit() -> None:
    report, _ = _probe(Behaviour(constrained=False))
    assert not report.constrains_output
    assert "structured outputs" in _fault(report)


def test_a_wrong_model_is_answered_with_what_is_served() -> None:
    report, requests = _probe(Behaviour(models=("a", "b")), model="c")
    assert (report.serves_model, report.models, requests) == (False, ("a", "b"), 0)
    assert "serves a, b" in _fault(report, model="c")


def test_a_text_model_is_unfit_for_pictures() -> None:
    report, _ = _probe(Behaviour(takes_pictures=False))
    assert (report.takes_pictures, report.constrains_output) == (False, True)
    assert "not a multimodal model" in _fault(report)


def test_missing_logprobs_are_recorded_and_no_fault() -> None:
    report, _ = _probe(Behaviour(gives_logprobs=False))
    assert not report.gives_logprobs
    require(report, url="u", model="stub", needs_pictures=True)


def test_a_proxy_without_its_server_is_as_good_as_nobody() -> None:
    report, _ = _probe(Behaviour(always="503"), timeout_s=1)
    with pytest.raises(EndpointUnreachable):
        require(report, url="u", model="stub", needs_pictures=True)
    report, _ = _probe(Behaviour(constrained=False))
    with pytest.raises(EndpointUnfit) as caught:
        require(report, url="u", model="stub", needs_pictures=True)
    assert not isinstance(caught.value, EndpointUnreachable)


@pytest.mark.parametrize("thinking", ["content", "reasoning"])
@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_leaking_thoughts_are_seen_and_the_switch_is_named(thinking: Any, name: str) -> None:
    behaviour = Behaviour(thinking=thinking, thinking_field=name)
    report, _ = _probe(behaviour)
    assert report.thinking_leaks
    assert "enable_thinking: false" in _fault(report)
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    assert not _probe(behaviour, extra_body=off)[0].thinking_leaks


def test_a_key_that_is_refused_names_api_key_env() -> None:
    report, _ = _probe(Behaviour(api_key="k"))
    assert report.status == 401
    assert "api_key_env" in _fault(report)
    report, _ = _probe(Behaviour(api_key="k"), headers={"Authorization": "Bearer k"})
    assert report.constrains_output


@pytest.mark.parametrize("kind", ["503", "429", "502", "drop", "drop_mid"])
def test_trouble_that_passes_is_waited_for(kind: str) -> None:
    report, requests = _probe(Behaviour(trouble=(kind, kind)))
    assert report.constrains_output
    assert report.gives_logprobs
    assert requests == 3


def test_one_internal_error_is_not_taken_for_a_missing_ability() -> None:
    report, requests = _probe(Behaviour(trouble=("500",)))
    assert (report.gives_logprobs, report.takes_pictures, requests) == (True, True, 2)


@pytest.mark.parametrize("kind", ["500", "503", "hang", "html", "garbage", "truncated", "null"])
def test_trouble_that_stays_is_named(kind: str) -> None:
    report, _ = _probe(Behaviour(always=kind), timeout_s=1)
    assert "did not answer a chat request" in _fault(report)


def test_a_server_that_comes_late_is_waited_for_and_one_that_never_comes_is_named() -> None:
    async def run(start_after_s: float, timeout_s: float) -> ProbeReport:
        async with serve_stub() as first:
            port = int(first.url.split(":")[2].removesuffix("/v1"))

        async def late() -> None:
            await asyncio.sleep(start_after_s)
            async with serve_stub(port=port):
                await asyncio.sleep(3)

        starting = asyncio.ensure_future(late())
        async with aiohttp.ClientSession() as session:
            report = await probe_endpoint(
                session,
                url=f"http://127.0.0.1:{port}/v1",
                model="stub",
                headers={},
                extra_body={},
                needs_pictures=True,
                timeout_s=timeout_s,
            )
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return report

    assert asyncio.run(run(0.7, 10)).constrains_output
    report = asyncio.run(run(60, 0.5))
    assert not report.reachable
    assert "Is the server running" in _fault(report)


def test_whitespace_without_end_is_told_from_no_constraint() -> None:
    from pipelines.probe_question import read_answer

    choice = {"message": {"content": '{"word":' + " \n" * 60}, "finish_reason": "length"}
    found = read_answer(json.dumps({"choices": [choice]}), "w")
    assert found["endless_whitespace"]
    report = ProbeReport(reachable=True, serves_model=True, models=("stub",), **found)
    assert "disable_any_whitespace" in _fault(report)
