"""Commands one after another, each done once: killed anywhere, the same call goes on.

`steps.jsonl` in the folder has two lines a try: when a step began, and how it ended. A step whose
last line says that it ended well is done. A command that was cut short is started again, so it must
be one that goes on by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.launch import guard

LOG = "steps.jsonl"
# A training writes a checkpoint when it is told to stop.
_GRACE_S = 60.0
# What an earlier call that was killed had running gets so long to end.
_WAIT_S = _GRACE_S + 30.0
_POLL_S = 0.2


class StepsRefused(Exception):
    """A folder of other steps, or one that another call works on; the message says what to do."""


class StepFailed(Exception):
    """A step that did not end well; what is done is kept."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command of a run, and its name, which no other step has."""

    name: str
    command: tuple[str, ...]


def run_steps(steps: Sequence[Step], folder: Path, say: Callable[[str], None]) -> None:
    """Run what is not done, in order, in the current folder.

    Raises StepsRefused for a step that was done by another command, before anything is run, and
    StepFailed at the first that does not end with status 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder, say) as lock:
        done = finished(folder)
        for step in steps:
            was = done.get(step.name, list(step.command))
            if was != list(step.command):
                raise StepsRefused(
                    f"{folder}: step {step.name} was done by another command ({' '.join(was)}; now "
                    f"{' '.join(step.command)}); give another --out, or remove the folder"
                )
        for number, step in enumerate(steps, 1):
            if step.name not in done:
                _do(step, f"[{number}/{len(steps)}] {step.name}", folder, lock, say)


def _do(step: Step, title: str, folder: Path, lock: int, say: Callable[[str], None]) -> None:
    say(f"{title}: {' '.join(step.command)}")
    about = {"step": step.name, "command": list(step.command)}
    _add(folder, about | {"began": _clock()})
    began = time.monotonic()
    status = _run(step.command, lock)
    took_s = round(time.monotonic() - began, 1)
    _add(folder, about | {"ended": _clock(), "status": status, "took_s": took_s})
    if status:
        raise StepFailed(
            f"step {step.name} ended with status {status}: see above. What is done is kept; "
            "the same command goes on from there"
        )
    say(f"{title}: done in {took_s:.0f} s")


@contextlib.contextmanager
def _alone(folder: Path, say: Callable[[str], None]) -> Iterator[int]:
    """Own a folder's steps. Gives the lock, which a command that is running holds as well: what
    outlives a call that was killed, for as long as it takes to end, is waited for.
    """
    lock = os.open(folder / ".steps.lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + _WAIT_S
    told = False
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StepsRefused(f"{folder}: another call is at work; wait for it") from None
                if not told:
                    say(f"{folder}: waiting for an earlier call to end")
                told = True
                time.sleep(_POLL_S)
        yield lock
    finally:
        os.close(lock)


def finished(folder: Path) -> dict[str, list[str]]:
    """The commands of the steps that are done, by name."""
    last = {entry["step"]: entry for entry in read_log(folder)}
    return {name: one["command"] for name, one in last.items() if one.get("status") == 0}


def times(folder: Path) -> dict[str, dict[str, Any]]:
    """By step, in order: `took_s` of all tries that ended, and `cut`, how many did not.

    How long those took is not known.
    """
    found: dict[str, dict[str, Any]] = {}
    for entry in read_log(folder):
        one = found.setdefault(entry["step"], {"took_s": 0.0, "cut": 0})
        if "ended" in entry:
            one["took_s"] += entry["took_s"]
            one["cut"] -= 1
        else:
            one["cut"] += 1
    return found


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of the log; a line that a kill cut off is left out."""
    path = folder / LOG
    found = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def _add(folder: Path, entry: dict[str, Any]) -> None:
    path = folder / LOG
    half = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    with open(path, "a", encoding="utf-8") as file:
        file.write("\n" * half + json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _run(command: Sequence[str], lock: int) -> int:
    """The exit status of a command, which does not outlive this process however that ends."""
    child = subprocess.Popen([*guard(os.getpid(), _GRACE_S), *command], pass_fds=(lock,))
    try:
        return child.wait()
    except BaseException:
        # Ctrl-C: the guard takes down its command, gently, and all below it.
        child.send_signal(signal.SIGTERM)
        child.wait()
        raise


def _clock() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
