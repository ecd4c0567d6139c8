"""What a training of the bundled judge does in which step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from foundry.shapeworld.judge_model import SMALL, Size
from foundry.shapeworld.mixture import Phase
from foundry.shapeworld.rows import FIRST_RESERVED_SEED

# Lessons are drawn ahead by so many batches, to batch them by length.
POOL_BATCHES = 16
# So that sets of lessons about the same pictures are many more than batches.
SMALLEST_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training run.

    `look_steps` of captions, `base_steps` without any score, then `judge_steps` with all kinds of
    lessons, `batch` a step on average; all steps multiples of POOL_BATCHES. The learning rate rises
    over `warmup` steps and falls as a cosine, once until scores are shown and once after.
    """

    seed: int = 1
    look_steps: int = 160
    base_steps: int = 2240
    judge_steps: int = 2000
    batch: int = 64
    learning_rate: float = 3e-3
    judge_learning_rate: float = 2e-3
    warmup: int = 60
    weight_decay: float = 0.05
    evaluations: int = 4
    evaluation_groups: int = 24
    size: Size = SMALL

    def __post_init__(self) -> None:
        if any(n % POOL_BATCHES for n in (self.look_steps, self.base_steps, self.judge_steps)):
            raise ValueError(f"steps must be multiples of {POOL_BATCHES}")
        if self.batch < SMALLEST_BATCH:
            raise ValueError(f"batches of fewer than {SMALLEST_BATCH} cannot be filled evenly")
        if not 0 <= self.seed < FIRST_RESERVED_SEED:
            raise ValueError(f"seeds from {FIRST_RESERVED_SEED} on are for measuring")

    @property
    def steps(self) -> int:
        """All steps."""
        return self.base_end + self.judge_steps

    @property
    def base_end(self) -> int:
        """Steps after which scores are shown."""
        return self.look_steps + self.base_steps

    def phase(self, step: int) -> Phase:
        """What is taught in a step, counted from 0."""
        return "look" if step < self.look_steps else "base" if step < self.base_end else "judge"

    @property
    def evaluated(self) -> frozenset[int]:
        """After which steps the model is measured: evenly, and at the end of either part."""
        evenly = (round(self.steps * i / self.evaluations) for i in range(1, self.evaluations))
        return frozenset((*evenly, self.base_end, self.steps))


def learning_rate(plan: Plan, step: int) -> float:
    """The rate of a step, counted from 0: a linear rise, then half a cosine to a twentieth, anew
    where scores begin.
    """
    if step < plan.base_end:
        peak, steps = plan.learning_rate, plan.base_end
    else:
        peak, steps, step = plan.judge_learning_rate, plan.judge_steps, step - plan.base_end
    if step < plan.warmup:
        return peak * (step + 1) / plan.warmup
    progress = (step - plan.warmup) / max(1, steps - plan.warmup)
    return peak * (0.05 + 0.95 * (1 + math.cos(math.pi * progress)) / 2)
