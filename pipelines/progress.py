"""Counters of a run, for a progress bar a stage; plain lines where there is no terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_EVERY_S = 15.0


@dataclass
class Counter:
    """One stage's counts: `total` expected (None: unknown), `done`, of these `asked` in this run
    (not known before), `rejected`, and `bad` replies that had to be asked again.
    """

    total: int | None = None
    done: int = 0
    asked: int = 0
    rejected: int = 0
    bad: int = 0


class Counters:
    """Counts a stage, in the order of the stages. Adding is safe from several threads."""

    def __init__(self) -> None:
        self.stages: dict[str, Counter] = {}
        self._lock = threading.Lock()

    def expect(self, stage: str, total: int | None) -> None:
        """Name a stage and how many are expected."""
        with self._lock:
            self.stages.setdefault(stage, Counter()).total = total

    def set_done(self, stage: str, done: int) -> None:
        """Set how many are done, for a stage that counts by itself."""
        with self._lock:
            self.stages.setdefault(stage, Counter()).done = done

    def add(self, stage: str, *, asked: bool, rejected: bool, bad: int) -> None:
        """Count one answer; `bad` replies came before it."""
        with self._lock:
            counter = self.stages.setdefault(stage, Counter())
            counter.done += 1
            counter.asked += asked
            counter.rejected += rejected
            counter.bad += bad if asked else 0


@contextmanager
def shown(counters: Counters, *, title: str) -> Iterator[None]:
    """Show the counters on standard error while the block runs."""
    console = Console(stderr=True)
    stop = threading.Event()
    show = _show_bars if console.is_terminal else _show_lines
    thread = threading.Thread(target=show, args=(counters, title, stop, console), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _notes(counter: Counter) -> str:
    notes = []
    if counter.done > counter.asked and counter.asked == 0 and counter.done:
        notes.append("all known")
    elif counter.asked:
        notes.append(f"{counter.asked} asked")
    if counter.bad:
        notes.append(f"{counter.bad} asked again")
    if counter.rejected:
        notes.append(f"{counter.rejected} rejected")
    return ", ".join(notes)


def _show_bars(counters: Counters, title: str, stop: threading.Event, console: Console) -> None:
    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[notes]}"),
    )
    with Progress(*columns, console=console) as bars:
        ids = {}
        while True:
            last = stop.is_set()
            for name, counter in list(counters.stages.items()):
                if name not in ids:
                    ids[name] = bars.add_task(name, total=counter.total, notes="")
                bars.update(
                    ids[name],
                    total=counter.total,
                    completed=counter.done,
                    notes=_notes(counter) if name != "rows" else "",
                )
            if last:
                return
            stop.wait(0.2)


def _show_lines(counters: Counters, title: str, stop: threading.Event, console: Console) -> None:
    shown_before = ""
    while True:
        last = stop.wait(PLAIN_EVERY_S)
        parts = [
            f"{name} {counter.done}" + (f"/{counter.total}" if counter.total is not None else "")
            for name, counter in list(counters.stages.items())
        ]
        line = f"{title}: " + ", ".join(parts)
        if parts and line != shown_before:
            print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)  # noqa: T201 - for a person
            shown_before = line
        if last:
            return
