"""The start-up probe: what an endpoint can do, asked before a million rows depend on it.

A server accepts unknown fields with a 200, so that it took `response_format` says nothing. It is
asked for a word made up a moment ago, which stands in the schema alone.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from pipelines.probe_question import (
    error_text,
    make_question,
    read_answer,
    read_models,
    text_field,
)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
# A 500 is repeated only once: it may be what a server says to a picture.
_TRANSIENT = (408, 429, 502, 503, 504)


class EndpointUnfit(Exception):
    """An endpoint that cannot do the work: which one, what it lacks, and the cure."""


class EndpointUnreachable(EndpointUnfit):
    """An endpoint that nobody answers at; others of its pool may do the work."""


@dataclass(frozen=True, kw_only=True)
class ProbeReport:
    """What a probe found; plain values, so that it can stand in a manifest.

    None is "not asked" or "not told". `models` are those the server lists. `thinking_leaks`: the
    reply begins with thoughts, or is made of nothing else. `status` and `detail` are the HTTP
    status and the error text where the server gave no usable answer.
    """

    reachable: bool
    serves_model: bool = False
    models: tuple[str, ...] = ()
    constrains_output: bool = False
    takes_pictures: bool | None = None
    gives_logprobs: bool = False
    thinking_leaks: bool = False
    endless_whitespace: bool = False
    max_model_len: int | None = None
    server_version: str | None = None
    has_metrics: bool = False
    status: int | None = None
    detail: str | None = None


async def probe_endpoint(
    session: aiohttp.ClientSession,
    *,
    url: str,
    model: str,
    headers: Mapping[str, str],
    extra_body: Mapping[str, Any],
    needs_pictures: bool,
    pictures: int = 1,
    timeout_s: float,
) -> ProbeReport:
    """Find out what an endpoint can do, in one chat request where all is well, at most four.

    `url` ends in `/v1`. A server that cannot be reached or is busy is waited for, up to
    `timeout_s` in all. `pictures` are sent in one request when `needs_pictures`.

    Returns a report whatever is found: see `require`. Logprobs are asked for in any case.
    """
    root = url.rstrip("/")
    asker = _Asker(session, headers, time.monotonic() + timeout_s)
    status, listed = await asker.ask("GET", f"{root}/models")
    if status is None:
        return ProbeReport(reachable=False, detail=listed)
    report = ProbeReport(reachable=True, **read_models(listed, model))
    if status in (401, 403):
        return replace(report, status=status, detail=listed[:200])
    if report.models and not report.serves_model:
        return report
    report = await _ask_model(asker, report, root, model, extra_body, needs_pictures * pictures)
    if report.status is not None:
        return report
    base = root.removesuffix("/v1")
    found, metrics = await asker.ask("GET", f"{base}/metrics", patient=False)
    _, version = await asker.ask("GET", f"{base}/version", patient=False)
    return replace(
        report,
        has_metrics=found == 200 and "vllm:" in metrics,
        server_version=text_field(version, "version"),
    )


def require(
    report: ProbeReport,
    *,
    url: str,
    model: str,
    needs_pictures: bool,
) -> None:
    """Raises EndpointUnfit, with the cure, when an endpoint lacks what the work needs.

    It is an EndpointUnreachable when nobody, or only a proxy before it, answered there.
    """
    fault = _fault(report, model, needs_pictures)
    if fault:
        down = not report.reachable or report.status in _TRANSIENT
        kind = EndpointUnreachable if down else EndpointUnfit
        raise kind(f"endpoint {url}: {fault}")


def _fault(report: ProbeReport, model: str, needs_pictures: bool) -> str | None:
    if not report.reachable:
        return (
            f"cannot be reached ({report.detail}). Is the server running, and is this the right "
            "address? It must end in /v1; with 'launch' instead of 'url' one is started here."
        )
    if report.status in (401, 403):
        return (
            f"refuses the key (HTTP {report.status}). Put it in an environment variable and name "
            "that in api_key_env."
        )
    if not report.serves_model and report.models:
        return (
            f"does not serve '{model}'; it serves {', '.join(report.models)}. Correct 'model', or "
            "start vLLM with --served-model-name."
        )
    if report.takes_pictures is False and needs_pictures:
        return (
            f"refuses pictures ({report.detail}). '{model}' must be a multimodal model, and vLLM's "
            "--limit-mm-per-prompt must allow two pictures."
        )
    if report.status is not None:
        return (
            f"did not answer a chat request for '{model}' (HTTP {report.status}: {report.detail}). "
            "It must be an OpenAI-compatible server such as vLLM, with a chat template."
        )
    if report.thinking_leaks:
        return (
            "puts the model's thinking into the reply. Switch it off with "
            "extra_body: {chat_template_kwargs: {enable_thinking: false}}, or serve a model that "
            "does not think."
        )
    if report.endless_whitespace:
        return (
            "fills replies with whitespace until they are cut. Start vLLM with "
            '--structured-outputs-config \'{"backend":"xgrammar","disable_any_whitespace":true}\'.'
        )
    if not report.constrains_output:
        return (
            "does not keep to response_format json_schema, so scores could come back in any form. "
            "It needs a server with structured outputs, such as vLLM 0.12 or later."
        )
    return None


async def _ask_model(
    asker: _Asker,
    report: ProbeReport,
    root: str,
    model: str,
    extra_body: Mapping[str, Any],
    pictures: int,
) -> ProbeReport:
    """Ask with all we want, then without logprobs, then without pictures, to see what it is."""
    word = secrets.token_hex(4)
    refusal: tuple[int, str] = (0, "")
    for shown, logprobs in dict.fromkeys(
        [(pictures, True), (pictures, False), (0, True), (0, False)]
    ):
        body = {**make_question(model, word, shown, logprobs), **extra_body}
        status, text = await asker.ask("POST", f"{root}/chat/completions", body)
        if status == 200:
            report = replace(report, serves_model=True, **read_answer(text, word))
            if not pictures:
                return report
            detail = None if shown else error_text(refusal[1])
            return replace(report, takes_pictures=bool(shown), detail=detail or report.detail)
        refusal = refusal if refusal[0] else (status or 0, text)
        if status not in (400, 415, 422, 500, 501):
            break
    return replace(report, status=refusal[0], detail=error_text(refusal[1]))


class _Asker:
    """Sends requests until a deadline on the monotonic clock, with pauses that grow."""

    def __init__(
        self, session: aiohttp.ClientSession, headers: Mapping[str, str], deadline_s: float
    ) -> None:
        self._session = session
        self._headers = dict(headers)
        self._deadline_s = deadline_s

    async def ask(
        self, method: str, url: str, body: Any = None, *, patient: bool = True
    ) -> tuple[int | None, str]:
        """Status and text of the answer; status None: the error there was instead of one."""
        pause_s = FIRST_PAUSE_S
        while True:
            left_s = max(0.1, self._deadline_s - time.monotonic())
            timeout = aiohttp.ClientTimeout(total=left_s if patient else min(5.0, left_s))
            try:
                async with self._session.request(
                    method, url, json=body, headers=self._headers, timeout=timeout
                ) as response:
                    answer = response.status, await response.text(errors="replace")
            except TimeoutError:
                answer = None, f"no answer within {timeout.total:.0f} s"
            except (aiohttp.ClientError, OSError) as error:
                answer = None, str(error) or type(error).__name__
            passing = answer[0] is None or answer[0] in _TRANSIENT
            passing = passing or (answer[0] == 500 and pause_s == FIRST_PAUSE_S)
            if not (patient and passing) or time.monotonic() + pause_s > self._deadline_s:
                return answer
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
