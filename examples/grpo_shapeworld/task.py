"""What a policy is asked for, and how what it writes is read, drawn and measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from foundry.shapeworld.scenes import Scene

# Measures of what was written, by the rules of ShapeWorld.
Truth = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One thing asked for: `text` is what the policy reads, `wish` what the truth goes by.

    Two texts of one wish ask for the same in other words.
    """

    text: str
    wish: Any


Ask = Callable[[Random], Asked]


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something that a policy learns to write.

    `ask` draws what is asked for. `example` is a text for it as the warm start learns, good or bad.
    `read` gives the scene that a text tells, None for none. `truth` measures the scene, and `worst`
    is what a text without one counts as. `item` is what the reward server scores, in `mode`.
    `formulas` give the exact reward, 0 to 1, of a truth; their names are the values of the server's
    setting `formula_setting`. `warm_steps` are the steps of the warm start. `beta`
    weighs the penalty for leaving it, the KL divergence a token (TRL's `GRPOConfig.beta`).
    """

    name: str
    title: str
    ask: Ask
    example: Callable[[Asked, Random], str]
    read: Callable[[Asked, str], Scene | None]
    truth: Callable[[Asked, Scene], Truth]
    worst: Truth
    item: Callable[[Asked, Scene], dict[str, str]]
    mode: str
    formula_setting: str
    formulas: Mapping[str, Callable[[Truth], float]]
    warm_steps: int
    beta: float
