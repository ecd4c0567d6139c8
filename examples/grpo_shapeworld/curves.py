"""Curves of GRPO, drawn: reward and true measures by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipelines.shards import write_bytes

# A point is the mean of so many steps.
SMOOTHED = 10
# A run's lines, by step.
Log = Sequence[Mapping[str, Any]]


def draw_curves(path: Path, curves: Mapping[str, Sequence[Log]], measures: Sequence[str]) -> None:
    """A panel for the reward and one a measure, a colour for all seeds of a name."""
    names = ["reward", *(f"true_{name}" for name in measures)]
    figure = Figure(figsize=(4.5 * len(names), 3.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, len(names)), names, strict=True):
        for number, (told, logs) in enumerate(curves.items()):
            for seed, log in enumerate(logs):
                steps, values = smoothed(log, name)
                label = told if seed == 0 else None
                axes.plot(steps, values, color=f"C{number}", alpha=0.8, label=label)
        axes.set_xlabel("step")
        axes.set_ylabel(name.replace("_", " "))
        axes.legend()
    out = BytesIO()
    figure.savefig(out, format="png")
    write_bytes(path, out.getvalue())


def smoothed(log: Log, name: str) -> tuple[list[int], list[float]]:
    """Steps that have a value, and its mean over the last `SMOOTHED` of them.

    A step of which nothing could be scored has none.
    """
    points = [(line["step"], line[name]) for line in log if line.get(name) is not None]
    values = [value for _, value in points]
    means = [fmean(values[max(0, i + 1 - SMOOTHED) : i + 1]) for i in range(len(values))]
    return [step for step, _ in points], means
