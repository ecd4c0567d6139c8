"""Histograms of scores, drawn for a dataset card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipelines.replies import SCORES

BEFORE, AFTER = "#b9c3cf", "#2f6db3"


def add_splits(scores: Sequence[Mapping[str, Any]]) -> dict[str | None, tuple[list[int], ...]]:
    """Rows of score 1 to 5, before and after balance, by axis, over all splits."""
    totals: dict[str | None, tuple[list[int], ...]] = {}
    for entry in scores:
        pair = totals.setdefault(entry["axis"], ([0] * len(SCORES), [0] * len(SCORES)))
        for sums, new in zip(pair, (entry["before"], entry["after"]), strict=True):
            sums[:] = [a + b for a, b in zip(sums, new, strict=True)]
    return totals


def draw_scores(scores: Sequence[Mapping[str, Any]]) -> bytes:
    """One histogram an axis, as PNG; balance is shown where it changed something."""
    totals = add_splits(scores)
    figure = Figure(figsize=(4.6 * len(totals), 3.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (axis, (before, after)) in zip(
        figure.subplots(1, len(totals), squeeze=False)[0], totals.items(), strict=True
    ):
        balanced = before != after
        bars = [("before balance", before, BEFORE)] if balanced else []
        bars.append(("in the dataset", after, AFTER))
        width = 0.8 / len(bars)
        for i, (label, counts, colour) in enumerate(bars):
            places = [score + (i - (len(bars) - 1) / 2) * width for score in SCORES]
            drawn = axes.bar(places, counts, width, label=label, color=colour)
            axes.bar_label(drawn, fontsize=7, padding=1, fmt="{:,.0f}")
        axes.set_title(axis or "score", fontsize=11)
        axes.set_xlabel("score")
        axes.set_ylabel("rows")
        axes.set_xticks(SCORES)
        axes.margins(y=0.12)
        axes.spines[["top", "right"]].set_visible(False)
        if balanced:
            axes.legend(frameon=False, fontsize=8)
    out = BytesIO()
    # No date and no version inside: the same scores are the same file, and go up once.
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
