"""Benchmarks in a trained model's card: `python -m foundry.evals.card MODEL REPORT...`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App

from foundry.evals.bench_tables import measures_table
from foundry.evals.compare import read_report
from foundry.evals.comparing import NotComparable
from foundry.evals.markdown import INTERVALS
from foundry.evals.scores_report import Found
from pipelines.shards import file_sha256, write_bytes

HEAD = "## Benchmarks"
app = App(name="python -m foundry.evals.card", help_flags=["--help", "-h"], version_flags=[])


class CardRefused(Exception):
    """A model without a card, or a report that is not of it."""


@app.default
def main(model: Path, report: Path, *reports: Path) -> int:
    """Put the results of benchmarks into a model's card, in place of those that stood there.

    Parameters
    ----------
    model
        The folder of the model, with its card, README.md: `model/` or `adapter/` of a training.
    report
        A report of foundry.evals.run: its .json, or the folder that holds it.
    reports
        Further ones.

    """
    try:
        write_benchmarks(model, [read_report(one) for one in (report, *reports)])
    except (CardRefused, NotComparable, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's own output
        return 2
    print(f"{model / 'README.md'}: {1 + len(reports)} benchmarks")  # noqa: T201 - its own output
    return 0


def write_benchmarks(model: Path, reports: Sequence[Found]) -> None:
    """Write the section into the card. Raises CardRefused, or OSError."""
    path = model / "README.md"
    if not path.exists():
        raise CardRefused(f"{model}: has no card, README.md; name the folder of a trained model")
    for report in reports:
        _check(model, report)
    section = "\n\n".join([HEAD, f"{INTERVALS}.", *map(_part, reports)]) + "\n\n"
    card = path.read_text("utf-8")
    # From its head to the next of the same rank; it comes before what the model learnt from.
    card = re.sub(rf"^{HEAD}\n.*?(?=^## |\Z)", "", card, flags=re.DOTALL | re.MULTILINE)
    before, head, after = f"{card.rstrip()}\n".partition("\n## ")
    text = f"{before}\n{section}{head.lstrip()}{after}"
    write_bytes(path, f"{text.rstrip()}\n".encode())


def _check(model: Path, report: Found) -> None:
    """A report must have a table for a card, and one of launched weights be of those here."""
    if "slices" not in report:
        raise CardRefused(
            f"the report of {report['bench']} is not of a student's way of asking: measure it "
            "with --direct"
        )
    for name, sha256 in report["weights"].items():
        if not (model / name).exists() or file_sha256(model / name) != sha256:
            raise CardRefused(f"the report of {report['bench']} is of other weights than {model}")


def _part(report: Found) -> str:
    by = f"firm-foundry {report['package_version']}, {report['git_commit']}"
    of = "these weights" if report["weights"] else f"`{report['model']}`, as the server named it"
    return "\n".join([f"### {report['bench']}", "", f"Of {of}; {by}.", "", *measures_table(report)])


if __name__ == "__main__":
    sys.exit(app())
