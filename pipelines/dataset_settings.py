"""The part of a recipe that says which scored rows stand in the dataset: gates and balance."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipelines.settings import Settings, Source

# Our names of what a source has, by kind of build.
GEN_COLUMNS = ("prompt", "image")
EDIT_COLUMNS = ("source_image", "edited_image", "instruction")


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

    targets: dict[str, Target] = Field(default_factory=dict)
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
