"""What GRPO did: true measures before and after, what they tell, and the curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from examples.grpo_shapeworld.curves import SMOOTHED, Log, draw_curves
from examples.grpo_shapeworld.prompts import MEASURED, TASKS
from examples.grpo_shapeworld.verdicts import Arms, edit_verdict, gain, gen_verdict
from foundry.evals.markdown import table_number, table_row, table_rule
from pipelines.shards import write_bytes

# What was written for the measured prompts: whether it tells a `scene`, and the `truth` of it.
Items = Sequence[Mapping[str, Any]]


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
        f"`{how}`, firm-foundry {_made(found)}. Training and measuring "
        f"took {_minutes(found):.0f} minutes, those of calls that were cut off among them; the "
        "starts of reward servers are not counted.",
        "",
        f"True measures are of {MEASURED} prompts that no training met, a text each, before and "
        f"after {steps} steps. A text that tells no scene counts as the worst there is, a score of "
        "1; `of scenes` leaves such texts out. Intervals are 95%, by drawing those prompts anew: "
        "what another seed would do, they do not tell. Of all texts of a training, `unscored` is "
        "the share that the critic gave no reward though they tell a scene, and `error of the "
        "reward` how far off its rewards, 0 to 1, were on average from what the truth gives by the "
        "same formula; `its correlation` is Pearson's of the two among those texts for one prompt "
        "that tell a scene, mean over steps. Critics:",
        "",
        *(_critic(name, about) for name, about in critics.items()),
    ]
    for name, arms in found.items():
        verdict = edit_verdict if "unchanged" in TASKS[name].worst else gen_verdict
        penalty = f"Penalty for leaving the start, `beta`: {TASKS[name].beta:g}."
        lines += ["", f"## {TASKS[name].title}", "", *verdict(arms), "", penalty, ""]
        lines += _gains(name, arms)
        lines += ["", *_seeds(name, arms), "", f"![curves](grpo-{name}.png)"]
        curves = {_told(name, arm): [run["log"] for run in runs] for arm, runs in arms.items()}
        draw_curves(out / f"grpo-{name}.png", curves, list(TASKS[name].worst))
    text = "\n".join(lines) + "\n"
    write_bytes(out / "grpo.md", text.encode())
    return text


def _made(found: Mapping[str, Arms]) -> str:
    """By which code the results were made, and when."""
    codes = {
        f"{code['package_version']} ({code['git_commit'] or 'no commit known'})"
        for code in _of_all_runs(found, "code")
    }
    days = sorted(set(_of_all_runs(found, "date")))
    return f"{', '.join(sorted(codes))}, {' to '.join(dict.fromkeys((days[0], days[-1])))}"


def _minutes(found: Mapping[str, Arms]) -> float:
    return sum(_of_all_runs(found, "seconds")) / 60


def _of_all_runs(found: Mapping[str, Arms], name: str) -> list[Any]:
    return [run[name] for arms in found.values() for runs in arms.values() for run in runs]


def _critic(name: str, about: Mapping[str, Any]) -> str:
    if about["model"] is None:
        return f"- {name}: the rules of ShapeWorld themselves"
    return f"- {name}: `{about['model']}`, weights {about['weights'][:12]}"


def _told(task: str, arm: tuple[str, str]) -> str:
    """An arm's name: the formula is told where there are several."""
    return ", ".join(arm) if len(TASKS[task].formulas) > 1 else arm[0]


def _gains(task: str, arms: Arms) -> list[str]:
    """How much each measure rose, mean and standard deviation over seeds."""
    measures = list(TASKS[task].worst)
    lines = [table_row("rewards", "seeds", *(f"gain in {name}" for name in measures))]
    lines.append(table_rule(2 + len(measures)))
    for arm, runs in arms.items():
        cells = []
        for name in measures:
            each = [float(gain([run], name).mean()) for run in runs]
            spread = f" (sd {stdev(each):.2f})" if len(each) > 1 else ""
            cells.append(f"{fmean(each):+.2f}{spread}")
        lines.append(table_row(_told(task, arm), len(runs), *cells))
    return lines


def _seeds(task: str, arms: Arms) -> list[str]:
    """Before and after of every run, and what its critic was worth."""
    measures = list(TASKS[task].worst)
    titles = [t for name in measures for t in (name, f"{name} of scenes")]
    titles += ["scenes", f"reward, last {SMOOTHED}", "unscored"]
    titles += ["error of the reward", "its correlation"]
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
            for name in ("reward_error", "reward_correlation"):
                cells.append(table_number(_logged(run["log"], name)))
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
