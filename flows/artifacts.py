"""What a build shows in Prefect's own pages: progress a stage, the funnel, the report's figures.

All of it is for people who watch. None of it may fail or hold up a build.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from pipelines.progress import Counters
from pipelines.report.markdown import figures_markdown
from pipelines.report.write import write_report

PROGRESS_EVERY_S = 5.0
# An API that does not answer keeps a request in retries for minutes.
LONGEST_GOODBYE_S = 10.0


def report_build(build: Path) -> None:
    """Write a finished build's report, and artifacts with its figures. Call it in a flow.

    Not in a task: a person in the foreground does not see what tasks log. It never raises: the
    dataset is complete without it, so trouble is a warning that says what to do.
    """
    logger = get_run_logger()
    logger.info("%s: the dataset is complete; writing its report", build)
    try:
        report = write_report(build)
    except Exception as error:  # noqa: BLE001 - whatever it is, the build is finished
        # An old page would pass for one of the new rows.
        with suppress(OSError):
            (build / "report" / "index.html").unlink(missing_ok=True)
        logger.warning(
            "%s: the dataset is complete, its report could not be written (%s: %s); mend the "
            "cause and run: python -m flows.report %s",
            build,
            type(error).__name__,
            error,
            build,
        )
        return
    try:
        publish_figures(report.figures, report.path)
    except Exception as error:  # noqa: BLE001 - whatever it is, the build is finished
        logger.warning("%s: no artifacts in Prefect (%s)", report.path, error)


def publish_figures(figures: dict[str, Any], report: Path) -> None:
    """Make two artifacts: the funnel as a table, and the other figures with the page's path."""
    name = figures["build"]["name"]
    funnel = [
        {"step": step["name"], "lost": step["lost"], "left": step["left"], "why": _why(step["why"])}
        for step in figures["funnel"]
    ]
    law = figures["law"]
    ends = [{"step": "source", "lost": 0, "left": law["source"], "why": ""}]
    create_table_artifact(
        [*ends, *funnel], key=_key("funnel", name), description=f"From source rows to {name}"
    )
    create_markdown_artifact(
        figures_markdown(figures, report.resolve()),
        key=_key("report", name),
        description=f"Figures of {name}",
    )


def _why(reasons: dict[str, int]) -> str:
    return ", ".join(f"{reason} {n}" for reason, n in reasons.items())


def _key(*words: str) -> str:
    """A key as Prefect takes it: lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")


@contextmanager
def shown_in_prefect(counters: Counters, *, name: str) -> Iterator[None]:
    """Keep a progress artifact for each stage up to date while the block runs, inside a flow."""
    stop = threading.Event()
    # A thread starts without the flow run that the artifacts belong to.
    context = copy_context()
    thread = threading.Thread(
        target=context.run, args=(_keep_up, counters, name, stop), daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(LONGEST_GOODBYE_S)


def _keep_up(counters: Counters, name: str, stop: threading.Event) -> None:
    ids: dict[str, UUID] = {}
    told: dict[str, float] = {}
    last = False
    while not last:
        last = stop.wait(PROGRESS_EVERY_S)
        for stage, counter in list(counters.stages.items()):
            if not counter.total:
                continue
            percent = min(100.0, 100 * counter.done / counter.total)
            if told.get(stage) == percent:
                continue
            said = f"{stage}: {counter.done} of {counter.total}, {counter.rejected} rejected"
            try:
                if stage in ids:
                    update_progress_artifact(ids[stage], percent, said)
                else:
                    made = create_progress_artifact(percent, _key(stage, name), said)
                    ids[stage] = cast(UUID, made)
            except Exception:  # noqa: BLE001 - the server may be back by the next time
                break
            told[stage] = percent
