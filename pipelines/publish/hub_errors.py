"""Trouble with the Hugging Face Hub: what to wait for, how long, and what to tell a person."""

from __future__ import annotations

import json

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import parse_ratelimit_headers
from tenacity import RetryCallState
from tenacity.wait import wait_random_exponential

_BACK_OFF = wait_random_exponential(multiplier=1, max=60)
_WITHOUT_XET = " A Hub without Xet storage needs HF_HUB_DISABLE_XET=1."
_KEPT = "What went up is kept; run the same command again to go on."


def http_cause(error: BaseException | None) -> BaseException | None:
    """The error of HTTP that an error comes from, else the error itself."""
    cause = error
    while cause is not None and not isinstance(cause, httpx2.HTTPError):
        cause = cause.__cause__
    return cause or error


def may_pass(error: BaseException) -> bool:
    """Whether the same request can do better later: 408, 429, 5xx, a broken connection, and what
    the host of the storage refuses, as a new try gets addresses that are signed anew.
    """
    cause = http_cause(error)
    if isinstance(cause, HfHubHTTPError):
        status = cause.response.status_code
        refused = status in (401, 403) and not _is_the_hubs(cause)
        return status in (408, 429) or status >= 500 or refused
    # A proxy in trouble answers with a page where JSON should be.
    return isinstance(cause, httpx2.TransportError | json.JSONDecodeError)


def _is_the_hubs(error: HfHubHTTPError) -> bool:
    """Whether the Hub itself answered, not the storage that it sends files to."""
    return error.response.request.url.netloc == httpx2.URL(constants.ENDPOINT).netloc


def wait_s(state: RetryCallState) -> float:
    """How long the Hub asks to wait, else an exponential back-off with jitter; in seconds."""
    cause = http_cause(state.outcome.exception()) if state.outcome else None
    if isinstance(cause, HfHubHTTPError):
        headers = cause.response.headers
        limit = parse_ratelimit_headers(headers)
        if headers.get("retry-after", "").isdigit():
            return float(headers["retry-after"])
        if limit is not None and limit.remaining == 0:
            return limit.reset_in_seconds + 1.0
    return _BACK_OFF(state)


def in_a_line(error: BaseException | None) -> str:
    """What happened, without addresses: those of uploads are signed."""
    if isinstance(error, HfHubHTTPError):
        return f"status {error.response.status_code}"
    return str(error).strip().split("\n")[0] or type(error).__name__


def explain(error: BaseException, *, repo_id: str, endpoint: str) -> str | None:
    """What a person should do about an error; None for one that is no trouble of the Hub's."""
    cause = http_cause(error)
    if isinstance(cause, HfHubHTTPError):
        status = cause.response.status_code
        said = f" ({cause.server_message})" if cause.server_message else ""
        if status == 401 and _is_the_hubs(cause):
            return (
                f"the Hub does not know the token{said}: run `hf auth login`, or put a token that "
                f"may write to {repo_id} into the variable HF_TOKEN"
            )
        if status == 403 and _is_the_hubs(cause):
            return (
                f"the token may not write to {repo_id}{said}: `hf auth login` with one that may, "
                "or take a name of your own or of an organization that you may write to"
            )
        request = cause.response.request
        where = f"{request.method} {request.url.path}"
        who = "the Hub" if _is_the_hubs(cause) else f"the Hub's storage {request.url.host}"
        return f"{who} answered {status}{said} to {where}. {_KEPT}"
    if isinstance(cause, httpx2.HTTPError):
        return f"the Hub at {endpoint} cannot be reached: {in_a_line(cause)}. {_KEPT}"
    if isinstance(cause, OSError) and cause.errno is None:
        # Xet storage is reached by a library of its own, with errors of its own.
        hint = "" if constants.HF_HUB_DISABLE_XET else _WITHOUT_XET
        return f"sending to {repo_id} failed: {in_a_line(cause)}. {_KEPT}{hint}"
    if isinstance(cause, json.JSONDecodeError):
        return f"the Hub at {endpoint} answered with something that is not JSON. {_KEPT}"
    return None
