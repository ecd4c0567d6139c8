"""The part of a recipe that says who is asked: servers that run, or that are launched.

Secrets are never in a recipe: `api_key_env` names the environment variable that holds one.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pipelines.settings import Settings, as_list

_SECRET = re.compile(r"authorization|api[-_]?key|token|secret|password|cookie", re.IGNORECASE)


# vLLM's own settings whose names sound like one.
_NO_SECRETS = frozenset(
    {
        "--tokenizer",
        "--tokenizer-mode",
        "--tokenizer-revision",
        "--skip-tokenizer-init",
        "--max-num-batched-tokens",
        "--enable-prompt-tokens-details",
        "--enable-log-requests",
        "max_tokens",
        "min_tokens",
        "max_completion_tokens",
        "stop_token_ids",
        "allowed_token_ids",
        "bad_words_token_ids",
        "skip_special_tokens",
        "include_stop_str_in_output",
        "return_token_ids",
        "logprob_token_ids",
        "truncate_prompt_tokens",
    }
)


class Launch(Settings):
    """A vLLM server started for the run and stopped with it.

    `command` replaces the default (`python -m vllm...` of `.venv-vllm` where that exists, else
    `vllm serve`); `{model}` and `{port}` are filled in. `args` are added to either. `env` is added
    to the server's environment.
    """

    model: str = Field(min_length=1)
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    ready_timeout_s: float = Field(default=1800, gt=0)


class Endpoint(Settings):
    """One OpenAI-compatible server: a `url` that already runs (ending in `/v1`), or a `launch`.

    `pictures: file` sends `file://` paths instead of bytes; the server must share the disk and
    allow it (vLLM: `--allowed-local-media-path`). `extra_body` goes into every request, such as
    `chat_template_kwargs: {enable_thinking: false}`. `timeout_s` is for one request.
    """

    url: str | None = None
    launch: Launch | None = None
    model: str | None = None
    revision: str | None = None
    api_key_env: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    extra_body: dict[str, Any] = Field(default_factory=dict)
    pictures: Literal["bytes", "file"] = "bytes"
    max_in_flight: int = Field(default=256, ge=1)
    timeout_s: float = Field(default=600, gt=0)

    @model_validator(mode="after")
    def _one_way_to_reach_it(self) -> Endpoint:
        if (self.url is None) == (self.launch is None):
            raise ValueError("give exactly one of 'url' and 'launch'")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url '{self.url}' must start with http:// or https://")
        if self.url is not None and self.model is None:
            raise ValueError("an endpoint with a 'url' needs 'model'")
        names = [*self.headers, *self.extra_body]
        if self.launch:
            # Names alone, of `--key VALUE` and `--key=VALUE`: no value may reach a message.
            words = (*self.launch.args, *self.launch.command)
            options = [word.partition("=")[0] for word in words if word.startswith("-")]
            names += [*self.launch.env, *options]
        secret = [name for name in names if _SECRET.search(name) and name not in _NO_SECRETS]
        if self.url and (
            "@" in self.url.split("/")[2] or _SECRET.search(self.url.partition("?")[2])
        ):
            secret.append("url")
        if secret:
            raise ValueError(
                f"no secrets in a recipe ({', '.join(secret)}): it is written into the build and "
                "sent to Prefect; put the key in an environment variable and name it in "
                "'api_key_env' (a launched server inherits the environment)"
            )
        if self.launch and self.revision and self.revision not in self.launch.args:
            raise ValueError(
                "a launched server loads the revision that it is told to: add "
                f"['--revision', '{self.revision}'] to launch.args"
            )
        return self

    @property
    def model_name(self) -> str:
        """The name the server knows the model by."""
        return self.model or (self.launch.model if self.launch else "")


# One may stand for a list of one. The input type is for Prefect, which checks by JSON Schema.
Pool = Annotated[
    tuple[Endpoint, ...],
    BeforeValidator(as_list, json_schema_input_type=Endpoint | tuple[Endpoint, ...]),
    Field(min_length=1),
]
