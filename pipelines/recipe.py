"""The recipe of a build: every setting of a run, checked before anything starts.

A flow's parameter is one of these models, so a wrong recipe is refused by field name.
Secrets are never in a recipe: `api_key_env` names the environment variable that holds one.
"""

from __future__ import annotations

from abc import abstractmethod

from pydantic import Field, model_validator

from pipelines.dataset_settings import EDIT_COLUMNS, GEN_COLUMNS, Balance, Gates
from pipelines.endpoint_settings import Endpoint, Pool
from pipelines.rendering import AXES, GEN_AXIS
from pipelines.settings import (
    ImageLimits,
    RewriteSettings,
    ScoreSettings,
    Settings,
    Sources,
    StageSettings,
)


class RunSettings(Settings):
    """What every flow that asks models needs. Paths are relative to the folder it is started in."""

    output: str = Field(min_length=1, description="The build's folder.")
    shard_rows: int = Field(default=1000, ge=1, le=20_000)
    buckets: int | None = Field(
        default=None, ge=1, description="Fixed at the first run; empty: rows / shard_rows."
    )
    shards_in_flight: int = Field(default=2, ge=1, le=64)
    reject_share: float = Field(default=0.1, ge=0.0, le=1.0)
    outage_timeout_s: float = Field(default=900, gt=0)

    @model_validator(mode="after")
    def _a_pool_is_one_model(self) -> RunSettings:
        for role, pool in self.roles().items():
            models = {(e.model_name, e.revision) for e in pool}
            if len(models) > 1:
                raise ValueError(f"endpoints.{role}: all must serve the same model, got {models}")
            if any(e.extra_body != pool[0].extra_body for e in pool):
                raise ValueError(f"endpoints.{role}: all must have the same extra_body")
        return self

    @abstractmethod
    def roles(self) -> dict[str, tuple[Endpoint, ...]]:
        """The endpoint pool of each role."""


class Recipe(RunSettings):
    """What both builds need."""

    sources: Sources
    images: ImageLimits = ImageLimits()
    gates: Gates = Gates()
    balance: Balance = Balance()
    control_share: float = Field(
        default=0.01, ge=0.0, le=1.0, description="Of control rows, at least one a kind and bucket."
    )
    validation_share: float = Field(default=0.05, ge=0.0, lt=1.0)

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

    @abstractmethod
    def columns_needed(self) -> tuple[str, ...]:
        """Our names of the columns that every source must have."""

    @abstractmethod
    def axes(self) -> tuple[str, ...]:
        """The axes that its rows are scored on."""


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

    def roles(self) -> dict[str, tuple[Endpoint, ...]]:  # noqa: D102 - documented in RunSettings
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

    def roles(self) -> dict[str, tuple[Endpoint, ...]]:  # noqa: D102 - documented in RunSettings
        judge = self.endpoints.judge
        rewriter = {"rewriter": self.endpoints.rewriter or judge} if self.rewrites.per_row else {}
        return {"judge": judge, **rewriter}
