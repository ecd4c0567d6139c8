"""Parts of a recipe that stand by themselves: sources, picture limits, how a stage asks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


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


def as_list(value: Any) -> Any:
    """One stands for a list of one."""
    return [value] if isinstance(value, dict | Settings) else value


# The input type is for Prefect, which checks by JSON Schema.
Sources = Annotated[
    tuple[Source, ...],
    BeforeValidator(as_list, json_schema_input_type=Source | tuple[Source, ...]),
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
    """A stage that scores: `votes` replies a row, the majority is the row's score.

    For `label_mass_share` of the answers the server is asked once more, for one free token, whether
    the model would have gone on with a score.
    """

    votes: int = Field(default=1, ge=1, le=64)
    label_mass_share: float = Field(default=0.01, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _votes_must_be_able_to_differ(self) -> ScoreSettings:
        if self.votes > 1 and self.temperature == 0:
            raise ValueError("votes > 1 needs temperature > 0: equal replies are not votes")
        return self


RewriteKind = Literal["other_object", "opposite_action", "other_attribute", "extra_demand"]


class RewriteSettings(StageSettings):
    """Rewritten instructions (edits): `per_row` says of each kind for which share of the rows there
    is one more row with an instruction of that kind, above 0 and at most 1.
    """

    per_row: dict[RewriteKind, Annotated[float, Field(gt=0.0, le=1.0)]] = Field(
        default_factory=dict
    )
