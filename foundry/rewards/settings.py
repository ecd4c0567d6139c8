"""Settings of the reward server, checked before it starts."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Literal

from pydantic import Field, model_validator

from pipelines.endpoint_settings import Pool
from pipelines.settings import ImageLimits, Settings

# How a reply is asked for, and which of its numbers the reward is made of.
Mode = Literal["reasoning", "expected", "average"]


class TrainerWire(Settings):
    """A port for trainers with formats of their own (docs/rewards.md); nobody is asked for a token.

    Clients on this machine are let in, and those in the networks of `allow`, such as 10.0.0.0/8.
    These trainers cannot hear of an invalid item: the request fails and they ask again, unless
    `fallback` gives it the mean of the valid items of the same prompt and source.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=18087, ge=0, le=65535)
    allow: tuple[str, ...] = ()
    fallback: Literal["group_mean"] | None = None

    @model_validator(mode="after")
    def _networks_are_networks(self) -> TrainerWire:
        for network in self.allow:
            ip_network(network)
        return self


class RewardImages(ImageLimits):
    """Limits of pictures that strangers send: a picture takes some twenty bytes a source pixel
    while it is decoded, so those over `max_source_pixels` are refused sooner than a build does.
    """

    max_source_pixels: int = Field(default=25_000_000, ge=256)

    @model_validator(mode="after")
    def _nothing_that_has_no_meaning_here(self) -> RewardImages:
        if self.allow_http:
            raise ValueError("allow_http: this server fetches no pictures")
        for name in {"originals", "workers"} & self.model_fields_set:
            raise ValueError(f"{name} is of builds: this server has no use for it")
        return self


class RewardSettings(Settings):
    """Who scores, how, for whom, and how much at once.

    `mode`: `reasoning`, one greedy reply with its reasoning, whose score is the reward's;
    `expected`, a reply without reasoning, the mean of its label probabilities; `average`, the mean
    of `k` replies with reasoning at temperature 0.7 (EditScore's Avg@k, arXiv 2509.23909).
    `edit_reward`: `cme`, or `sum`, the mean of both axes, for comparison. `gen_reward`: how well a
    picture follows its prompt (`alignment`), or that together with its quality (`qma`).

    `workers` processes serve at the same address; each limit is of all together.

    `token_env` names the variable with the bearer token, which clients must send; without one the
    server listens on a loopback address alone. `files` is a folder whose pictures may be named by
    path. A request has at most `max_items` items and `max_body_mb` (10^6 bytes), and its body must
    come within `body_timeout_s`. When `max_waiting` questions to the judge are at work (an edit
    asks two, `qma` two, `average` k times as many), more are told to come later. An item without an
    answer after `deadline_s`, or after what its request says where that is less, is invalid. A
    server that is told to end finishes what is at work for at most `shutdown_s`.
    """

    endpoint: Pool
    mode: Mode = "expected"
    k: int = Field(default=4, ge=2, le=64)
    attempts: int = Field(default=2, ge=1, le=20)
    edit_reward: Literal["cme", "sum"] = "cme"
    gen_reward: Literal["alignment", "qma"] = "alignment"
    images: RewardImages = RewardImages()
    files: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8600, ge=0, le=65535)
    token_env: str | None = None
    trainer_wire: TrainerWire | None = None
    workers: int = Field(default=1, ge=1, le=64)
    max_items: int = Field(default=256, ge=1)
    max_body_mb: float = Field(default=256.0, gt=0)
    max_waiting: int = Field(default=4096, ge=1)
    body_timeout_s: float = Field(default=30.0, gt=0)
    deadline_s: float = Field(default=120.0, gt=0)
    shutdown_s: float = Field(default=120.0, gt=0)

    @model_validator(mode="after")
    def _strangers_need_a_token(self) -> RewardSettings:
        if self.token_env is None and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} can be reached from other machines: set token_env to the name "
                "of the variable that holds a token, or take 127.0.0.1"
            )
        if any(endpoint.pictures == "file" for endpoint in self.endpoint):
            raise ValueError("endpoint.pictures: file: this server has pictures in memory alone")
        if self.max_items > self.max_waiting:
            raise ValueError(
                f"max_items {self.max_items} is over max_waiting {self.max_waiting}: a request of "
                "so many items could never be let in"
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
