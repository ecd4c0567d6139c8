"""The recipe of `build-firm-preferences`: every setting, checked before anything starts."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipelines.dataset_settings import Balance
from pipelines.endpoint_settings import Endpoint, Pool
from pipelines.preferences.rules import PairRules
from pipelines.recipe import RunSettings
from pipelines.rendering import AXES, GEN_AXIS
from pipelines.settings import ScoreSettings, Settings, StageSettings

_AXES = (*AXES, GEN_AXIS)


class PreferenceEndpoints(Settings):
    """Who is asked: `student`, the SFT model, for rollouts; `judge` (pictures) compares rationales.

    Without a judge no two correct rollouts are compared.
    """

    student: Pool
    judge: Pool | None = None


class RolloutSettings(Settings):
    """How the student is asked: `k` replies to one request.

    `max_tokens` left empty is what the longest legal reply needs. `seed` is sent with the request.
    """

    k: int = Field(default=8, ge=2, le=64)
    temperature: float = Field(default=0.7, gt=0.0, le=2.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    max_tokens: int | None = Field(default=None, ge=16)
    seed: int | None = None

    def as_scores(self) -> ScoreSettings:
        """The same for a stage that scores: one attempt, since a rollout is not asked for again."""
        settings = self.model_dump(exclude={"k"})
        return ScoreSettings(votes=self.k, attempts=1, label_mass_share=0.0, **settings)


class PreferenceRecipe(RunSettings):
    """Recipe of `build-firm-preferences`.

    `dataset` is a finished build, or a folder with the Parquet files of a published dataset. A
    pair's label is balanced by axis, as the rows of a build are.
    """

    dataset: str = Field(min_length=1)
    endpoints: PreferenceEndpoints
    rollouts: RolloutSettings = RolloutSettings()
    comparisons: StageSettings = StageSettings()
    pairs: PairRules = PairRules()
    balance: Balance = Balance(targets=dict.fromkeys(_AXES, "uniform"))

    @model_validator(mode="after")
    def _axes_are_ours(self) -> PreferenceRecipe:
        unknown = sorted(self.balance.targets.keys() - set(_AXES))
        if unknown:
            raise ValueError(f"balance.targets: no axis {unknown}; there are {_AXES}")
        return self

    def roles(self) -> dict[str, tuple[Endpoint, ...]]:  # noqa: D102 - documented in RunSettings
        judge = self.endpoints.judge
        return {"student": self.endpoints.student, **({"judge": judge} if judge else {})}
