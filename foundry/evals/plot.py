"""Measures with their intervals, drawn for a report."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

MOST_COLUMNS = 3
# What a plot of scores measures.
MAE_LABEL = "MAE, a failure as the furthest"
OURS, OTHERS = "#2f6db3", "#8a97a6"
# A measure [value, lower end, upper end], [value] of one without an interval, None: undefined.
Mark = tuple[str, Sequence[float] | None]


def draw_measures(panels: Sequence[tuple[str, Sequence[Mark]]], label: str) -> bytes:
    """A panel a slice, a line a mark, as PNG. `label` says what is measured."""
    longest = max(len(marks) for _, marks in panels)
    columns = min(MOST_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    size = (1.6 + 3.2 * columns, (1.2 + 0.28 * longest) * rows)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(rows, columns, squeeze=False).flatten()
    for empty in places[len(panels) :]:
        empty.set_axis_off()
    for axes, (title, marks) in zip(places, panels, strict=False):
        for place, (_, mark) in enumerate(marks):
            if mark is None:
                continue
            colour = OURS if len(mark) == 3 else OTHERS
            if len(mark) == 3:
                axes.hlines(place, mark[1], mark[2], color=colour, linewidth=1.5)
            axes.plot(mark[0], place, "o", color=colour, markersize=4)
            axes.annotate(f"{mark[0]:.2f}", (mark[0], place), (0, 4), fontsize=7, ha="center",
                          textcoords="offset points")  # fmt: skip
        axes.set_yticks(range(len(marks)), [name for name, _ in marks], fontsize=8)
        axes.set_ylim(len(marks) - 0.4, -0.8)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(label, fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
        axes.margins(x=0.1)
        axes.spines[["top", "right"]].set_visible(False)
    out = BytesIO()
    # No date and no version inside: the same measures are the same file.
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
