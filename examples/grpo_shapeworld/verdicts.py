"""What GRPO came to, in a few sentences: which critic raised the truth, what formula collapsed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foundry.evals.markdown import table_cell
from foundry.evals.metrics import Array, with_interval

# A result a seed, as `train` writes it.
Runs = Sequence[Mapping[str, Any]]
# By critic and formula, those compared first standing first.
Arms = Mapping[tuple[str, str], Runs]
# Doing nothing is called a collapse where more than this share of texts does it.
_COLLAPSED = 0.5
# What fewer texts do at the start, a training hardly meets.
_MET = 0.05
# The least score of a scene whose main things are right.
_GOOD = 4


def gen_verdict(arms: Arms) -> list[str]:
    """A sentence for the first critic, and one for each other that it is compared with."""
    (first, runs), *others = ((critic, runs) for (critic, _), runs in arms.items())
    rise = _interval(gain(runs, "score"))
    rose = _way(rise, "rose", "fell", "did not change so much that chance is ruled out")
    lines = [f"- With `{first}` the true score {rose}: {table_cell(rise)}."]
    for critic, other in others:
        more = _interval(gain(runs, "score") - gain(other, "score"))
        told = _way(more, "rose more than", "rose less than", "cannot be told apart from that")
        each = [
            gain([a], "score").mean() - gain([b], "score").mean()
            for a, b in zip(runs, other, strict=True)
        ]
        seeds = f", seed by seed {', '.join(f'{one:+.2f}' for one in each)}" * (len(each) > 1)
        lines.append(f"- With `{first}` it **{told} with `{critic}`**: {table_cell(more)}{seeds}.")
    shares = {critic: _good(run) for (critic, _), run in arms.items()}
    told = "; ".join(f"`{critic}` {share}" for critic, share in shares.items())
    return [*lines, f"- Share of texts with a true score of {_GOOD} or 5: {told}."]


def _good(runs: Runs) -> str:
    before, after = (
        float((_every(runs, when, "score") >= _GOOD).mean()) for when in ("before", "after")
    )
    return f"{before:.0%} to {after:.0%}"


def edit_verdict(arms: Arms) -> list[str]:
    """For each critic whether the sum ended in doing nothing, where CME did not."""
    lines = []
    for critic in dict.fromkeys(critic for critic, _ in arms):
        product, total = arms[critic, "cme"], arms[critic, "sum"]
        idle = _interval(gain(total, "unchanged") - gain(product, "unchanged"))
        before, after = (_mean(total, when, "unchanged") for when in ("before", "after"))
        other = _mean(product, "after", "unchanged")
        fell = after > max(before, _COLLAPSED) and _way(idle, "more", "less", "") == "more"
        rare = before < _MET
        untried = " The start hardly ever does nothing: this is no test of it." if rare else ""
        better = _interval(gain(product, "execution") - gain(total, "execution"))
        lines.append(
            f"- Critic `{critic}`: after training on the sum {after:.0%} of the texts leave the "
            f"source as it was ({before:.0%} before), after training on CME {other:.0%}; the share "
            f"rose by {table_cell(idle)} more on the sum. **The collapse into doing nothing is "
            f"{'' if fell else 'not '}reproduced.**{'' if fell else untried} True execution "
            f"rose by {table_cell(better)} more on CME."
        )
    return [
        *lines,
        "",
        f"Reproduced means: on the sum more than {_COLLAPSED:.0%} of the texts do nothing, more "
        "than before, and the interval of what the share rose more than on CME lies above 0.",
    ]


def _mean(runs: Runs, when: str, name: str) -> float:
    return float(_values(runs, when, name).mean())


def gain(runs: Runs, name: str) -> Array:
    """How much a measure rose on each prompt, mean over seeds."""
    return _values(runs, "after", name) - _values(runs, "before", name)


def _values(runs: Runs, when: str, name: str) -> Array:
    return _every(runs, when, name).mean(0)


def _every(runs: Runs, when: str, name: str) -> Array:
    """A row a seed, a column a prompt."""
    return np.array([[item["truth"][name] for item in run[when]] for run in runs], float)


def _interval(of_prompts: Array) -> list[float]:
    return with_interval(lambda rows: float(of_prompts[rows].mean()), range(len(of_prompts))) or []


def _way(value: Sequence[float], above: str, below: str, neither: str) -> str:
    """Which word fits a difference with its interval."""
    low, high = value[1:]
    return above if low > 0 else below if high < 0 else neither
