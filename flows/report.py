"""Write the report of a finished build anew: `python -m flows.report BUILD`.

A flow writes it at its end; this is for another number of rows, or after an audit.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from pipelines.build import BuildRefused
from pipelines.dataset_reading import DatasetUnreadable
from pipelines.report.write import MOST_BYTES, ROWS, SEED, write_report

app = App(name="python -m flows.report", help_flags=["--help", "-h"], version_flags=[])


@app.default
def main(
    build: Path,
    *,
    rows: Annotated[int, Parameter(validator=Number(gte=0))] = ROWS,
    seed: int = SEED,
    megabytes: Annotated[float, Parameter(validator=Number(gte=1))] = MOST_BYTES / 1e6,
) -> int:
    """Write BUILD/report/index.html, a page that opens from disk.

    Parameters
    ----------
    build
        The folder of a finished build.
    rows
        How many rows of the dataset and rejects the page shows at most.
    seed
        Another number shows other rows.
    megabytes
        How large the page may be; its pictures are made to fit.

    """
    try:
        print(f"{build}: reading its rows and pictures", flush=True)  # noqa: T201 - a command's own output
        report = write_report(build, rows=rows, seed=seed, most_bytes=int(megabytes * 1e6))
    except (BuildRefused, DatasetUnreadable, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's own output
        return 1
    shown = ", ".join(f"{n} of {of} {what}" for what, (n, of) in report.shown.items())
    print(f"{report.path}: {report.size / 1e6:.1f} MB, {shown}")  # noqa: T201 - a command's own output
    return 0


if __name__ == "__main__":
    sys.exit(app())
