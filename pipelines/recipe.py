"""The recipe of a build: every setting of a run, checked before anything starts.

A flow's parameter is one of these models, so a wrong recipe is refused by field name.
Secrets are never in a recipe: `api_key_env` names the environment variable that holds one.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipelines.rendering import AXES, GEN_AXIS

GEN_COLUMNS = ("prompt", "image")
EDIT_COLUMNS = ("source_image", "edited_image", "instruction")


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


class Settings(BaseModel):
    """Base of all recipe parts: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Settings):
    """Where rows come from.

    `path` is a file, a glob or a folder; for `kind: datasets` a folder written by
    `save_to_disk` or a dataset's name on the Hub, which is streamed. `columns` maps our column
    names to the source's; one that is left out has the same name there. `keep` names further
    columns carried into the dataset as `metadata`. `license` is the Hub's short name of the licence
    that the source's rows are under, such as `cc-by-4.0`. `limit` takes the first rows only.
    """

    kind: Literal["parquet", "jsonl", "imagefolder", "datasets"]
    path: str = Field(min_length=1)
    name: str | None = None
    image_root: str | None = None
    columns: dict[str, str] = {}
    keep: tuple[str, ...] = ()
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    license: str | None = Field(default=None, pattern="^[a-z0-9][a-z0-9.+-]*$")
    limit: int | None = Field(default=None, ge=1)


class ImageLimits(Settings):
    """What the model may see, and which originals are refused before they are decoded.

    A picture over `max_side_px` or `max_pixels` is scaled down for the model, or its row
    rejected, as `over_limit` says. One over `max_source_pixels` (a decompression bomb),
    `max_aspect_ratio` or `max_bytes` always rejects its row. `originals`: whether the dataset holds
    the original bytes or the path to them.
    """

    max_side_px: int = Field(default=1536, ge=16)
    max_pixels: int = Field(default=1_600_000, ge=256)
    over_limit: Literal["scale", "reject"] = "scale"
    max_source_pixels: int = Field(default=100_000_000, ge=256)
    max_aspect_ratio: float = Field(default=20.0, ge=1.0)
    max_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    originals: Literal["inside", "reference"] = "inside"
    allow_http: bool = False
    workers: int = Field(default=0, ge=0, description="Processes; 0 is one a CPU core, at most 8.")


class Launch(Settings):
    """A vLLM server started for the run and stopped with it.

    `command` replaces the default (`python -m vllm...` of `.venv-vllm` where that exists, else
    `vllm serve`); `{model}` and `{port}` are filled in. `args` are added to either. `env` is added
    to the server's environment.
    """

    model: str = Field(min_length=1)
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
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
    headers: dict[str, str] = {}
    extra_body: dict[str, Any] = {}
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


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict | Settings) else value


# One may stand for a list of one. The input type is for Prefect, which checks by JSON Schema.
Pool = Annotated[
    tuple[Endpoint, ...],
    BeforeValidator(_as_list, json_schema_input_type=Endpoint | tuple[Endpoint, ...]),
    Field(min_length=1),
]
Sources = Annotated[
    tuple[Source, ...],
    BeforeValidator(_as_list, json_schema_input_type=Source | tuple[Source, ...]),
    Field(min_length=1),
]


class StageSettings(Settings):
    """How one stage asks: sampling, and how often it asks again after a bad reply.

    `max_tokens` left empty is what the longest legal reply needs. A re-ask is at temperature 0.3
    or more. `seed` plus the attempt number is sent with each request.
    """

    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    max_tokens: int | None = Field(default=None, ge=16)
    seed: int | None = None
    attempts: int = Field(default=3, ge=1, le=20)


class ScoreSettings(StageSettings):
    """A stage that scores: `votes` replies a row, the majority is the row's score."""

    votes: int = Field(default=1, ge=1, le=64)

    @model_validator(mode="after")
    def _votes_must_be_able_to_differ(self) -> ScoreSettings:
        if self.votes > 1 and self.temperature == 0:
            raise ValueError("votes > 1 needs temperature > 0: equal replies are not votes")
        return self


RewriteKind = Literal["other_object", "opposite_action", "other_attribute", "extra_demand"]


class RewriteSettings(StageSettings):
    """Rewritten instructions (edits): `per_row` further rows for each row, 0 to 4, of these kinds.

    One and a half are one for each row and a second one for half of them, each of another kind.
    """

    per_row: float = Field(default=0.0, ge=0.0, le=4.0)
    kinds: tuple[RewriteKind, ...] = Field(default=get_args(RewriteKind), min_length=1)

    @model_validator(mode="after")
    def _a_kind_comes_once_a_row(self) -> RewriteSettings:
        if len(set(self.kinds)) < max(len(self.kinds), self.per_row):
            raise ValueError(f"per_row {self.per_row:g} needs as many different kinds")
        return self


class Gates(Settings):
    """Which scored rows may not stand in the dataset; a change asks nothing again.

    `most_vote_spread` is the standard deviation of a row's votes in score points, at most 2;
    `most_entropy` that of its `score_probs` in bits, at most 2.33. The defaults reject no row for
    them. `most_unreported` is the share of an edit's picture that may change under a report of no
    change. Two pictures are near with hashes at most `most_bits` of 256 apart, and no part of
    theirs further than `most_colour` of 255 in any colour. `benchmarks` are sources that no row may
    share anything with; their `columns` say which of ours they have.
    """

    leak: bool = True
    degenerate: bool = True
    contradiction: bool = True
    most_vote_spread: float = Field(default=2.0, ge=0.0, le=2.0)
    most_entropy: float = Field(default=2.33, ge=0.0, le=2.33)
    grounding: bool = True
    most_unreported: float = Field(default=0.6, ge=0.0, le=1.0)
    duplicate: bool = True
    most_bits: int = Field(default=4, ge=0, le=32)
    most_colour: int = Field(default=6, ge=0, le=255)
    benchmarks: tuple[Source, ...] = ()

    def is_on(self, gate: str) -> bool:
        """Whether a gate (`leak`, `agreement`, ...) can reject anything."""
        if gate == "agreement":
            # No votes spread further than 2 points, no five probabilities over 2.33 bits.
            return self.most_vote_spread < 2.0 or self.most_entropy < 2.33
        return bool(getattr(self, "benchmarks" if gate == "contamination" else gate))

    @model_validator(mode="after")
    def _benchmarks_name_columns_of_ours(self) -> Gates:
        ours = {*GEN_COLUMNS, *EDIT_COLUMNS}
        for i, benchmark in enumerate(self.benchmarks):
            unknown = sorted(benchmark.columns.keys() - ours - {"id"})
            if unknown or not ours & benchmark.columns.keys():
                raise ValueError(
                    f"benchmarks[{i}].columns: say which of {sorted(ours)} it has, such as "
                    f"{{prompt: text}}; not {unknown or 'none'}"
                )
        return self


Target = Literal["uniform"] | tuple[float, float, float, float, float]


class Balance(Settings):
    """How many rows of each score stand in the dataset; empty `targets` leave it as it is.

    `targets` maps an axis (`execution`, `consistency`; `gen` for generated pictures) to `uniform`
    or to the shares of the scores 1 to 5. A share may be off by `tolerance`; at least `least_kept`
    of an axis's rows stay, even if the shares are then further off. `seed` draws the rows.
    """

    targets: dict[str, Target] = {}
    tolerance: float = Field(default=0.02, ge=0.0, le=1.0)
    least_kept: float = Field(default=0.3, ge=0.0, le=1.0)
    seed: int = 0

    @model_validator(mode="after")
    def _targets_are_shares(self) -> Balance:
        for axis, target in self.targets.items():
            if target != "uniform" and (min(target) < 0 or abs(sum(target) - 1) > 0.001):
                raise ValueError(f"targets.{axis}: five shares of at least 0 that add up to 1")
        return self

    def shares(self) -> dict[str, tuple[float, ...]]:
        """The shares of the scores 1 to 5 by axis."""
        uniform = (0.2, 0.2, 0.2, 0.2, 0.2)
        return {axis: uniform if t == "uniform" else t for axis, t in self.targets.items()}


class Recipe(Settings):
    """What both flows need. Paths are relative to the folder that the run is started in."""

    output: str = Field(min_length=1, description="The build's folder.")
    sources: Sources
    images: ImageLimits = ImageLimits()
    gates: Gates = Gates()
    balance: Balance = Balance()
    control_share: float = Field(
        default=0.01, ge=0.0, le=1.0, description="Of control rows, at least one a kind and bucket."
    )
    shard_rows: int = Field(default=1000, ge=1, le=20_000)
    buckets: int | None = Field(
        default=None, ge=1, description="Fixed at the first run; empty: rows / shard_rows."
    )
    shards_in_flight: int = Field(default=2, ge=1, le=64)
    reject_share: float = Field(default=0.1, ge=0.0, le=1.0)
    validation_share: float = Field(default=0.05, ge=0.0, lt=1.0)
    outage_timeout_s: float = Field(default=900, gt=0)

    @model_validator(mode="after")
    def _columns_are_ours(self) -> Recipe:
        ours = (*self.columns_needed(), "id")
        for i, source in enumerate(self.sources):
            unknown = sorted(set(source.columns) - set(ours))
            if unknown:
                raise ValueError(f"sources[{i}].columns: no column {unknown}; there are {ours}")
        return self

    @model_validator(mode="after")
    def _axes_are_ours(self) -> Recipe:
        unknown = sorted(self.balance.targets.keys() - set(self.axes()))
        if unknown:
            raise ValueError(f"balance.targets: no axis {unknown}; there are {self.axes()}")
        return self

    @model_validator(mode="after")
    def _a_pool_is_one_model(self) -> Recipe:
        for role, pool in self.roles().items():
            models = {(e.model_name, e.revision) for e in pool}
            if len(models) > 1:
                raise ValueError(f"endpoints.{role}: all must serve the same model, got {models}")
            if any(e.extra_body != pool[0].extra_body for e in pool):
                raise ValueError(f"endpoints.{role}: all must have the same extra_body")
        return self

    def columns_needed(self) -> tuple[str, ...]:
        """Our names of the columns that every source must have."""
        raise NotImplementedError("use GenRecipe or EditRecipe")

    def axes(self) -> tuple[str, ...]:
        """The axes that its rows are scored on."""
        raise NotImplementedError("use GenRecipe or EditRecipe")

    def roles(self) -> dict[str, tuple[Endpoint, ...]]:
        """The endpoint pool of each role."""
        raise NotImplementedError("use GenRecipe or EditRecipe")


class GenEndpoints(Settings):
    """Who is asked: `planner` (text) writes checklists, `judge` (pictures) scores."""

    planner: Pool
    judge: Pool


class EditEndpoints(Settings):
    """Who is asked: `judge` (pictures) reports differences and scores.

    `rewriter` (text) rewrites instructions; without one the judge does.
    """

    judge: Pool
    rewriter: Pool | None = None


class GenRecipe(Recipe):
    """Recipe of `build-firm-gen`."""

    endpoints: GenEndpoints
    checklists: StageSettings = StageSettings()
    gen_scores: ScoreSettings = ScoreSettings()

    def columns_needed(self) -> tuple[str, ...]:  # noqa: D102 - documented in Recipe
        return GEN_COLUMNS

    def axes(self) -> tuple[str, ...]:  # noqa: D102 - documented in Recipe
        return (GEN_AXIS,)

    def roles(self) -> dict[str, tuple[Endpoint, ...]]:  # noqa: D102 - documented in Recipe
        return {"planner": self.endpoints.planner, "judge": self.endpoints.judge}


class EditRecipe(Recipe):
    """Recipe of `build-firm-edit`."""

    endpoints: EditEndpoints
    rewrites: RewriteSettings = RewriteSettings()
    differences: StageSettings = StageSettings()
    edit_scores: ScoreSettings = ScoreSettings()

    def columns_needed(self) -> tuple[str, ...]:  # noqa: D102 - documented in Recipe
        return EDIT_COLUMNS

    def axes(self) -> tuple[str, ...]:  # noqa: D102 - documented in Recipe
        return AXES

    def roles(self) -> dict[str, tuple[Endpoint, ...]]:  # noqa: D102 - documented in Recipe
        judge = self.endpoints.judge
        rewriter = {"rewriter": self.endpoints.rewriter or judge} if self.rewrites.per_row else {}
        return {"judge": judge, **rewriter}
