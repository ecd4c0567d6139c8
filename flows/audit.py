"""Command `audit`: a page on which a person scores rows by hand, and what those scores say.

`python -m flows.audit BUILD` writes BUILD/audit/index.html. `--scores FILE` reads back what the
page saved, and writes BUILD/audit.json.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App
from cyclopts.types import PositiveInt

from foundry.evals.metrics import interval, mae, quadratic_kappa
from pipelines.audit.page import make_page
from pipelines.audit.rubrics import axes_of
from pipelines.audit.sample import draw_sample
from pipelines.audit.scores import (
    Compared,
    ScoresRefused,
    compare,
    read_scores,
    sample_path,
)
from pipelines.build import BuildRefused, read_build
from pipelines.dataset_reading import DatasetUnreadable, open_dataset
from pipelines.pictures import PictureRejected
from pipelines.shards import write_bytes, write_json

KNOWN_ERRORS = (BuildRefused, DatasetUnreadable, OSError, PictureRejected, ScoresRefused)
# The interval's own dice; the same scores give the same figures.
SEED = 0


def write_page(build: Path, *, rows: int, seed: int) -> str:
    """Write the page and, beside it, the sample that it shows. Returns what to tell a person."""
    read_build(build)
    dataset = open_dataset(build)
    sample = draw_sample(dataset, rows=rows, seed=seed)
    page = make_page(build, dataset.kind, sample).encode()
    # The sample first: a page whose scores could not be read back must not be scored on.
    write_json(sample_path(build, sample.id), sample.to_json())
    write_bytes(build / "audit" / "index.html", page)
    lines = [f"{build / 'audit' / 'index.html'}: {len(sample.rows)} rows, {len(page) / 1e6:.1f} MB"]
    for axis in axes_of(dataset.kind):
        # Not by score: whoever scores must not know how many of each to expect.
        lines.append(f"  {axis or 'alignment'}: {sum(row.axis == axis for row in sample.rows)}")
    lines += ["Open it in a browser; at the end it saves a file and says how to read it back."]
    return "\n".join(lines)


def read_back(build: Path, file: Path) -> str:
    """Compare a person's scores with the model's, keep both. Returns a table for a person."""
    read_build(build)
    dataset = open_dataset(build)
    answers, sample = read_scores(build, file)
    found = compare(dataset, answers, sample)
    axes = [_measure(axis, found) for axis in axes_of(dataset.kind)]
    data = file.read_bytes()
    kept = f"scores-{sample['audit']}-{sha256(data).hexdigest()[:8]}.json"
    write_bytes(build / "audit" / kept, data)
    report = {
        "audited_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "audit": sample["audit"],
        "rows": len(sample["rows"]),
        "scored": len(found.rows),
        "unsure": found.unsure,
        "unanswered": found.unanswered,
        "gone": len(found.gone),
        "axes": axes,
        "answers": [row.answer_id for row in found.rows],
        "file": kept,
    }
    write_json(build / "audit.json", report)
    return _as_text(build, report, found)


def _measure(axis: str | None, found: Compared) -> dict[str, Any]:
    """One axis: n, MAE and kappa with 95% intervals, null where they are undefined; and of the
    build's rows the share whose score had a row that was scored, which is what they hold for.

    Each scored row stands for its share of the build's rows with the same model's score, so a
    sample that was drawn evenly over scores says what holds for the build.
    """
    rows = [row for row in found.rows if row.axis == axis]
    person = np.array([row.person for row in rows])
    model = np.array([row.model for row in rows])
    scored = Counter(row.model for row in rows)
    weights = np.array([found.sizes[axis, row.model] / scored[row.model] for row in rows])
    size = sum(n for (a, _), n in found.sizes.items() if a == axis)
    covered = sum(found.sizes[axis, score] for score in scored) / size if size else None
    measured: dict[str, Any] = {"axis": axis, "n": len(rows), "share_covered": covered}
    groups = [row.shared for row in rows]
    for name, metric in (("mae", mae), ("kappa", quadratic_kappa)):
        value, ends = math.nan, (math.nan, math.nan)
        if rows:
            value = metric(person, model, weights)
            ends = interval(
                lambda i, metric=metric: metric(person[i], model[i], weights[i]),
                groups,
                seed=SEED,
            )
        measured[name] = _known(value)
        measured[f"{name}_interval"] = [_known(end) for end in ends]
    return measured


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _as_text(build: Path, report: dict[str, Any], found: Compared) -> str:
    lines = [f"{'axis':<14}{'n':>5}   {'MAE':<22}{'weighted kappa':<22}"]
    for axis in report["axes"]:
        lines.append(
            f"{axis['axis'] or 'alignment':<14}{axis['n']:>5}   "
            f"{_with_ends(axis, 'mae'):<22}{_with_ends(axis, 'kappa'):<22}".rstrip()
        )
    lines.append("The model's scores against the person's, weighted to the build's own scores,")
    lines.append("with 95% intervals; kappa has quadratic weights.")
    for (axis, score), size in sorted(found.sizes.items(), key=str):
        if not any(row.axis == axis and row.model == score for row in found.rows):
            lines.append(
                f"no row of {axis or 'the build'} with the model's score {score} was scored: "
                f"nothing is said of {size} rows"
            )
    lines += [
        f"{axis['axis'] or 'alignment'}: holds for {100 * axis['share_covered']:.1f}% of the "
        "build's rows"
        for axis in report["axes"]
        if axis["share_covered"] is not None and axis["share_covered"] < 1
    ]
    if found.gone:
        names = ", ".join(row_id for row_id, _ in found.gone[:3])
        lines.append(f"{len(found.gone)} scored rows are no longer in the dataset: {names}")
    lines.append(
        f"{report['rows']} rows on the page: {report['scored']} compared, "
        f"{report['unsure']} unsure, {report['unanswered']} without an answer, "
        f"{report['gone']} gone"
    )
    lines.append(f"{build / 'audit.json'}; the scores are kept as audit/{report['file']}")
    return "\n".join(lines)


def _with_ends(axis: dict[str, Any], name: str) -> str:
    value, (low, high) = axis[name], axis[f"{name}_interval"]
    if value is None:
        return "undefined"
    return f"{value:.2f}" if low is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


app = App(name="python -m flows.audit", help_flags=["--help", "-h"], version_flags=[])


@app.default
def main(
    build: Path,
    *,
    rows: PositiveInt = 200,
    seed: int = 0,
    scores: Path | None = None,
) -> int:
    """Make the page of an audit, or read back what was scored on it.

    Parameters
    ----------
    build
        The folder of a finished build.
    rows
        How many rows the page shows, drawn evenly over axes and scores.
    seed
        Another seed draws other rows.
    scores
        The file that the page saved: compare it with the model's scores.

    """
    try:
        if scores is None:
            text = write_page(build, rows=rows, seed=seed)
        else:
            text = read_back(build, scores)
    except KNOWN_ERRORS as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's own output
        return 1
    print(text)  # noqa: T201 - a command's own output
    return 0


if __name__ == "__main__":
    sys.exit(app())
