"""What GRPO did: true measures before and after, what they tell, and the curves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from examples.grpo_shapeworld.curves import SMOOTHED, Log, draw_curves
from examples.grpo_shapeworld.prompts import MEASURED, TASKS
from foundry.evals.markdown import table_cell, table_number, table_row, table_rule
from foundry.evals.metrics import Array, with_interval
from pipelines.shards import write_bytes
from pipelines.version import code_version

# A result a seed, as `train` writes it.
Runs = Sequence[Mapping[str, Any]]
# What was written for the measured prompts: whether it tells a `scene`, and the `truth` of it.
Items = Sequence[Mapping[str, Any]]
# By critic and formula, those compared first standing first.
Arms = Mapping[tuple[str, str], Runs]
# Doing nothing is called a collapse where more than this share of texts does it.
_COLLAPSED = 0.5
# What fewer texts do at the start, a training hardly meets.
_MET = 0.05


def write_report(
    out: Path,
    found: Mapping[str, Arms],
    critics: Mapping[str, Mapping[str, Any]],
    steps: int,
    how: str,
) -> str:
    """Write `grpo.md`, with a picture a task beside it, into a folder. Returns the report's text.

    `found` has the results by task. `critics` have a `model` with the digest of its `weights`, both
    None for the exact truth. `how` is the command.
    """
    lines = [
        "# GRPO on ShapeWorld",
        "",
        f"`{how}`, {time.strftime('%Y-%m-%d')}, {_code()}. Training and measuring "
        f"took {_minutes(found):.0f} minutes, those of calls that were cut off among them; the "
        "starts of reward servers are not counted.",
        "",
        f"True measures are of {MEASURED} prompts that no training met, a text each, before and "
        f"after {steps} steps. A text that tells no scene counts as the worst there is, a score of "
        "1; `of scenes` leaves such texts out. Intervals are 95%, by drawing those prompts anew: "
        "what another seed would do, they do not tell. Of all texts of a training, `unscored` is "
        "the share that the critic gave no reward though they tell a scene, and `error of the "
        "reward` how far off its rewards, 0 to 1, were on average from what the truth gives by the "
        "same formula. Critics:",
        "",
        *(_critic(name, about) for name, about in critics.items()),
    ]
    for name, arms in found.items():
        verdict = edit_verdict if "unchanged" in TASKS[name].worst else gen_verdict
        lines += ["", f"## {TASKS[name].title}", "", *verdict(arms), "", *_gains(name, arms)]
        lines += ["", *_seeds(name, arms), "", f"![curves](grpo-{name}.png)"]
        curves = {_told(name, arm): [run["log"] for run in runs] for arm, runs in arms.items()}
        draw_curves(out / f"grpo-{name}.png", curves, list(TASKS[name].worst))
    text = "\n".join(lines) + "\n"
    write_bytes(out / "grpo.md", text.encode())
    return text


def _code() -> str:
    version = code_version()
    commit = f" ({version['git_commit']})" if version["git_commit"] else ""
    return f"firm-foundry {version['package_version']}{commit}"


def _minutes(found: Mapping[str, Arms]) -> float:
    every = [run for arms in found.values() for runs in arms.values() for run in runs]
    return sum(run["seconds"] for run in every) / 60


def _critic(name: str, about: Mapping[str, Any]) -> str:
    if about["model"] is None:
        return f"- {name}: the rules of ShapeWorld themselves"
    return f"- {name}: `{about['model']}`, weights {about['weights'][:12]}"


def _told(task: str, arm: tuple[str, str]) -> str:
    """An arm's name: the formula is told where there are several."""
    return ", ".join(arm) if len(TASKS[task].formulas) > 1 else arm[0]


def gen_verdict(arms: Arms) -> list[str]:
    """A sentence for the first critic, and one for each other that it is compared with."""
    (first, runs), *others = ((critic, runs) for (critic, _), runs in arms.items())
    rise = _interval(_gain(runs, "score"))
    rose = _way(rise, "rose", "fell", "did not change so much that chance is ruled out")
    lines = [f"- With `{first}` the true score {rose}: {table_cell(rise)}."]
    for critic, other in others:
        more = _interval(_gain(runs, "score") - _gain(other, "score"))
        told = _way(more, "rose more than", "rose less than", "cannot be told apart from that")
        lines.append(f"- With `{first}` it **{told} with `{critic}`**: {table_cell(more)}.")
    return lines


def edit_verdict(arms: Arms) -> list[str]:
    """For each critic whether the sum ended in doing nothing, where CME did not."""
    lines = []
    for critic in dict.fromkeys(critic for critic, _ in arms):
        product, total = arms[critic, "cme"], arms[critic, "sum"]
        idle = _interval(_gain(total, "unchanged") - _gain(product, "unchanged"))
        before, after = (_mean(total, when, "unchanged") for when in ("before", "after"))
        other = _mean(product, "after", "unchanged")
        fell = after > max(before, _COLLAPSED) and _way(idle, "more", "less", "") == "more"
        rare = before < _MET
        untried = " The start hardly ever does nothing: this is no test of it." if rare else ""
        better = _interval(_gain(product, "execution") - _gain(total, "execution"))
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


def _gains(task: str, arms: Arms) -> list[str]:
    """How much each measure rose, mean and standard deviation over seeds."""
    measures = list(TASKS[task].worst)
    lines = [table_row("rewards", "seeds", *(f"gain in {name}" for name in measures))]
    lines.append(table_rule(2 + len(measures)))
    for arm, runs in arms.items():
        cells = []
        for name in measures:
            each = [float(_gain([run], name).mean()) for run in runs]
            spread = f" (sd {stdev(each):.2f})" if len(each) > 1 else ""
            cells.append(f"{fmean(each):+.2f}{spread}")
        lines.append(table_row(_told(task, arm), len(runs), *cells))
    return lines


def _seeds(task: str, arms: Arms) -> list[str]:
    """Before and after of every run, and what its critic was worth."""
    measures = list(TASKS[task].worst)
    titles = [t for name in measures for t in (name, f"{name} of scenes")]
    titles += ["scenes", f"reward, last {SMOOTHED}", "unscored", "error of the reward"]
    lines = [table_row("rewards", "seed", *titles), table_rule(2 + len(titles))]
    for arm, runs in arms.items():
        for seed, run in enumerate(runs):
            cells = [
                _change(run, partial(mean, name=name))
                for name in measures
                for mean in (_of_all, _of_scenes)
            ]
            cells.append(_change(run, lambda items: fmean(item["scene"] for item in items)))
            cells.append(table_number(_logged(run["log"][-SMOOTHED:], "reward")))
            cells.append(f"{_logged(run['log'], 'unscored'):.1%}")
            cells.append(table_number(_logged(run["log"], "reward_error")))
            lines.append(table_row(_told(task, arm), seed, *cells))
    return lines


def _logged(log: Log, name: str) -> float | None:
    """The mean over steps that have a value: where nothing could be scored a step has none."""
    known = [line[name] for line in log if line.get(name) is not None]
    return fmean(known) if known else None


def _change(run: Mapping[str, Any], measure: Callable[[Items], float | None]) -> str:
    return f"{table_number(measure(run['before']))} to {table_number(measure(run['after']))}"


def _of_all(items: Items, name: str) -> float:
    return fmean(item["truth"][name] for item in items)


def _of_scenes(items: Items, name: str) -> float | None:
    known = [item["truth"][name] for item in items if item["scene"]]
    return fmean(known) if known else None


def _mean(runs: Runs, when: str, name: str) -> float:
    return float(_values(runs, when, name).mean())


def _gain(runs: Runs, name: str) -> Array:
    """How much a measure rose on each prompt, mean over seeds."""
    return _values(runs, "after", name) - _values(runs, "before", name)


def _values(runs: Runs, when: str, name: str) -> Array:
    return np.array([[item["truth"][name] for item in run[when]] for run in runs], float).mean(0)


def _interval(of_prompts: Array) -> list[float]:
    return with_interval(lambda rows: float(of_prompts[rows].mean()), range(len(of_prompts))) or []


def _way(value: Sequence[float], above: str, below: str, neither: str) -> str:
    """Which word fits a difference with its interval."""
    low, high = value[1:]
    return above if low > 0 else below if high < 0 else neither
