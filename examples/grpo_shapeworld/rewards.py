"""What GRPO learns from: a reward server's rewards, or those of the exact truth.

True measures are logged beside either, and with a server never learnt from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from examples.grpo_shapeworld.task import Asked, Task, Truth
from foundry.rewards.trl import make_reward
from foundry.shapeworld.scenes import Scene

# From what is asked and the scene that came of it, None where a text tells none.
Drawn = tuple[Asked, Scene | None]
Critic = Callable[[Sequence[Drawn]], list[float | None]]
# What rewards less their mean differ by where they are the same.
_ROUNDING = 1e-9


def server_critic(task: Task, url: str) -> Critic:
    """The rewards of a server, None for what it could not score."""

    def item(sample: Mapping[str, Any]) -> dict[str, str] | None:
        asked, scene = sample["completion"]
        return None if scene is None else task.item(asked, scene)

    reward = make_reward(url, make_item=item)
    return lambda drawn: reward(completions=list(drawn))


def true_critic(task: Task, formula: str) -> Critic:
    """The rewards that a judge would give who never errs."""
    return lambda drawn: [
        None if scene is None else task.formulas[formula](task.truth(asked, scene))
        for asked, scene in drawn
    ]


def reward_function(
    task: Task, formula: str, critic: Critic, asked: Sequence[Asked]
) -> Callable[..., Any]:
    """A function for GRPOTrainer; the column `number` says which of `asked` a sample is about.

    A text that tells no scene earns 0: there is nothing to see. It counts as the worst in what is
    logged: `true_...` of each measure, `scenes`, the share of texts that tell one, and `unscored`,
    the share that a critic gave no reward. `reward_error` is the mean absolute difference, 0 to 1,
    of its rewards from what the truth would give by the same formula, and `reward_correlation`
    Pearson's of the two among the texts for a prompt that tell a scene, by which GRPO prefers one
    of them to another: either is left out where there is none.
    """

    def critic_reward(**columns: Any) -> list[float | None]:
        drawn: list[Drawn] = []
        for number, text in zip(columns["number"], columns["completions"], strict=True):
            drawn.append((asked[number], task.read(asked[number], text)))
        given = critic(drawn)
        told = [scene is not None for _, scene in drawn]
        log = columns["log_metric"]
        log("scenes", fmean(told))
        log("unscored", fmean(t and one is None for t, one in zip(told, given, strict=True)))
        truths = [measure(task, *one) for one in drawn]
        for name in task.worst:
            log(f"true_{name}", fmean(truth[name] for truth in truths))
        both = [
            (number, one, task.formulas[formula](truth))
            for number, t, one, truth in zip(columns["number"], told, given, truths, strict=True)
            if t and one is not None
        ]
        if both:
            log("reward_error", fmean(abs(one - truth) for _, one, truth in both))
        if (found := within_prompts(both)) is not None:
            log("reward_correlation", found)
        return [one if t else 0.0 for t, one in zip(told, given, strict=True)]

    return critic_reward


def within_prompts(both: Sequence[tuple[int, float, float]]) -> float | None:
    """Pearson's correlation of two values, each less its mean over its prompt, whose number comes
    first; None where one of them does not vary.
    """
    if not both:
        return None
    prompts, *values = (np.array(column) for column in zip(*both, strict=True))
    _, group, size = np.unique(prompts, return_inverse=True, return_counts=True)
    ours, true = (value - (np.bincount(group, value) / size)[group] for value in values)
    scale = float(np.linalg.norm(ours) * np.linalg.norm(true))
    return float(ours @ true) / scale if scale > _ROUNDING else None


def measure(task: Task, asked: Asked, scene: Scene | None) -> Truth:
    """The truth of what was written, the worst where it tells no scene."""
    return task.worst if scene is None else task.truth(asked, scene)
