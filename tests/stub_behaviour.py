"""What the stub server does when asked: plain by default, every kind of trouble by option."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

# A number is an HTTP status; "drop" closes without an answer, "drop_mid" in the middle of one,
# "hang" never answers, the rest are 200s whose body is not what it should be.
Trouble = str
TROUBLES = ("drop", "drop_mid", "hang", "html", "garbage", "truncated", "no_choices", "null")


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """Settings of the stub. Shares are of rows, decided by content, so they repeat.

    `row` below is what a request asks about whatever the attempt: messages up to the retry text,
    pictures, schema name; not sampling. `attempt` is 1, or 2 and more where the retry text is
    seen; with `seed_base` it is `seed - seed_base + 1`.
    """

    # What it serves.
    models: tuple[str, ...] = ("stub",)
    any_model: bool = False
    api_key: str | None = None
    max_model_len: int | None = 32_768
    metrics: bool = True
    waiting: int | None = None  # None: the true length of the queue (see `slots`)

    # How fast. `slots` requests run at once, the others queue; None is no limit.
    latency_s: tuple[float, float] = (0.0, 0.0)
    slots: int | None = None

    # Trouble by order of arrival: the next requests one after another, then every k-th, or all.
    trouble: tuple[Trouble, ...] = ()
    trouble_every: int | None = None
    trouble_kind: Trouble = "500"
    always: Trouble | None = None
    busy_above: int | None = None  # more requests than this at once are turned away
    busy_status: int = 503
    retry_after_s: float | None = None

    # Trouble by content: disjoint shares of rows, on the first `fault_attempts` attempts, in the
    # first `fault_choices` choices of n (None: in all).
    length_share: float = 0.0
    invalid_json_share: float = 0.0
    violate_share: float = 0.0
    refuse_share: float = 0.0
    empty_share: float = 0.0
    refuse_status_share: float = 0.0  # `refuse_status` for the row, at every attempt
    refuse_status: int = 400
    fault_attempts: int | None = None
    fault_choices: int | None = None
    seed_base: int | None = None
    retry_text: str = "Your previous reply could not be used"

    # What it lacks.
    constrained: bool = True
    takes_pictures: bool = True
    picture_cache: int = 100_000  # uuids remembered; 0: never a hit
    gives_logprobs: bool = True
    prompt_details: bool = True
    thinking: Literal["none", "content", "reasoning"] = "none"  # "enable_thinking": false stops it
    thinking_field: str = "reasoning_content"

    # Texts as of vLLM 0.32. `{index}`, `{uuid}`, `{limit}` and `{asked}` are filled in.
    cache_miss_text: str = "Cache miss for image at index {index} but data is not provided."
    cache_miss_status: int = 400
    too_long_text: str = (
        "This model's maximum context length is {limit} tokens. However, your prompt contains "
        "{asked} input tokens, which exceeds this limit even without any output tokens. Please "
        "reduce the length of the input prompt."
    )

    # One reply a (schema, n, logprobs): for measuring a client, not for tables.
    fixed_reply: bool = False
    list_items: int | None = None  # entries of every list that may have so many; None: a few
    log: bool = True
    collects_garbage: bool = True  # False: for good, since its pauses pass for the client's

    extra: dict[str, Any] = field(default_factory=dict)  # further fields of every reply

    def fault(self, row: float, attempt: int) -> str | None:
        """The fault of a row, whose hash is a number in [0, 1), at an attempt; None: a good reply.

        A row in `refuse_status_share` is faulty at every attempt.
        """
        early = self.fault_attempts is None or attempt <= self.fault_attempts
        shares = (
            ("refuse_status", self.refuse_status_share, True),
            ("length", self.length_share, early),
            ("invalid_json", self.invalid_json_share, early),
            ("violate", self.violate_share, early),
            ("refuse", self.refuse_share, early),
            ("empty", self.empty_share, early),
        )
        for name, share, applies in shares:
            if row < share:
                return name if applies else None
            row -= share
        return None

    @property
    def has_faults(self) -> bool:
        """Whether any row can be faulty."""
        return bool(
            self.length_share
            or self.invalid_json_share
            or self.violate_share
            or self.refuse_share
            or self.empty_share
            or self.refuse_status_share
        )


def behaviour_from(values: dict[str, Any]) -> Behaviour:
    """A behaviour from JSON values (lists become tuples). Raises TypeError for an unknown name."""
    return Behaviour(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
