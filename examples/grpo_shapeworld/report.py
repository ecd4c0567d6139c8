"""What GRPO did: true scores before and after, and the curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

Results = Mapping[str, Sequence[Mapping[str, Any]]]
_SMOOTHED = 10


def write_report(out: Path, results: Results, critics: Mapping[str, str]) -> str:
    """Write `grpo.md` and `grpo.png` into a folder. Returns the report's text."""
    lines = ["# GRPO on ShapeWorld", ""]
    lines += [
        "| critic | seed | true score before | after | scenes before | after | reward, last |"
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for critic, runs in results.items():
        for seed, run in enumerate(runs):
            before, after = run["before"], run["after"]
            cells = [critic, seed, _number(before["true_score"]), _number(after["true_score"])]
            cells += [f"{before['scenes']:.0%}", f"{after['scenes']:.0%}"]
            cells.append(_number(fmean(line["reward"] for line in run["log"][-_SMOOTHED:])))
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += [
        "",
        "True scores, 1 to 5, are of 200 prompts that no training saw, over the texts that",
    ]
    lines += ["tell a scene; the policy never learns from them. Critics:", ""]
    lines += [f"- {name}: `{model}`" for name, model in critics.items()]
    lines += ["", "![curves of reward and true score](grpo.png)", ""]
    text = "\n".join(lines)
    (out / "grpo.md").write_text(text, "utf-8")
    _draw(out / "grpo.png", results)
    return text


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _draw(path: Path, results: Results) -> None:
    mpl.use("Agg")
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, name, label in zip(
        figure.subplots(1, 2),
        ("reward", "true_score"),
        ("reward, 0 to 1", "true score, 1 to 5"),
        strict=True,
    ):
        for number, (critic, runs) in enumerate(results.items()):
            for seed, run in enumerate(runs):
                points = [(line["step"], line[name]) for line in run["log"] if name in line]
                if not points:
                    continue
                steps, values = zip(*points, strict=True)
                smooth = [
                    fmean(values[max(0, i - _SMOOTHED + 1) : i + 1]) for i in range(len(values))
                ]
                told = critic if seed == 0 else None
                axes.plot(steps, smooth, color=f"C{number}", alpha=0.8, label=told)
        axes.set_xlabel("step")
        axes.set_ylabel(label)
        axes.legend()
    figure.savefig(path, dpi=120)
