"""Commands one after another, each done once: killed anywhere, the same call goes on.

`steps.jsonl` in the folder has two lines a try: when a step began, by which code and with which
weights, and how it ended. A step whose last line says that it ended well is done. A command that
was cut short is started again, so it must be one that goes on by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.launch import guard
from pipelines.version import git_commit
from pipelines.weights import folder_digest

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
    """A command of a run, and its name, which no other step has.

    `models` are those folders of models that it takes and no step makes.
    """

    name: str
    command: tuple[str, ...]
    models: tuple[str, ...] = ()


def run_steps(steps: Sequence[Step], folder: Path, say: Callable[[str], None]) -> None:
    """Run what is not done, in order, in the current folder.

    Raises StepsRefused for a step that was done by another command or with other weights under the
    name of a model, before anything is run, and StepFailed at the first that does not end with
    status 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder, say) as lock:
        done = finished(folder)
        for step in steps:
            if (told := _otherwise(step, done)) is not None:
                raise StepsRefused(
                    f"{folder}: step {step.name} was done {told}; give another --out, or remove "
                    "the folder"
                )
        for number, step in enumerate(steps, 1):
            if step.name not in done:
                _do(step, f"[{number}/{len(steps)}] {step.name}", folder, lock, say)


def _otherwise(step: Step, done: Mapping[str, Mapping[str, Any]]) -> str | None:
    """How a step was done that now would be done otherwise; None for one that is to be kept."""
    was, now = done.get(step.name), _about(step)
    if was is None:
        return None
    if was["command"] != now["command"]:
        return f"by another command ({' '.join(was['command'])}; now {' '.join(step.command)})"
    if was.get("weights", {}) != now["weights"]:
        return f"with other weights than are in {' and '.join(step.models)} now"
    return None


def _about(step: Step) -> dict[str, Any]:
    weights = {model: folder_digest(Path(model)) for model in step.models}
    return {"step": step.name, "command": list(step.command), "weights": weights}


def _do(step: Step, title: str, folder: Path, lock: int, say: Callable[[str], None]) -> None:
    say(f"{title}: {' '.join(step.command)}")
    about = _about(step) | {"git_commit": git_commit()}
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


def finished(folder: Path) -> dict[str, dict[str, Any]]:
    """The last line of each step that is done, by name."""
    last = {entry["step"]: entry for entry in read_log(folder)}
    return {name: one for name, one in last.items() if one.get("status") == 0}


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


def commits(folder: Path) -> set[str]:
    """Of the code that did the steps that are done, as far as they are known."""
    return {one["git_commit"] for one in finished(folder).values() if one.get("git_commit")}


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
