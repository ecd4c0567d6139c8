"""A small process between a run and its server that lets nothing outlive the run.

Called as `launch_guard.py PARENT_PID GRACE_S COMMAND...`, standard library only. It runs the
command in a session of its own and exits with its code (128 + n for signal n). When the parent is
gone, however it died, or on SIGTERM, it takes down everything that descends from the command.

Guards are nested: should the outer one be killed, the inner one finds its parent gone; should the
inner one be killed, the outer one inherits what it guarded. PARENT_PID 0 is whoever started it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

POLL_S = 0.1
# What is still there after the server has gone, or ignored its SIGTERM, gets this long.
REST_S = 3.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main(arguments: list[str]) -> int:
    """Guard one command until it or the parent ends. Returns the exit code."""
    # Parent and pid are compared, not a pipe watched: a worker forked from the parent would hold
    # the pipe open after the parent has died.
    parent = int(arguments[0]) or os.getppid()
    grace_s, command = float(arguments[1]), arguments[2:]
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: told.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    child = _start(command)
    code: int | None = None
    while code is None and not told and os.getppid() == parent:
        time.sleep(POLL_S)
        code = _reap(child)
    if code is None:
        code = _end_gently(child, grace_s)
    _end_rest(child)
    return code


def descendants(pid: int) -> list[int]:
    """Every living process below `pid`, from /proc; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the poll of the parent is all there is."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _start(command: list[str]) -> int:
    guard = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == guard:
            os.execvp(command[0], command)
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr, flush=True)  # noqa: T201 - stderr is the log
    finally:
        os._exit(127)


def _reap(child: int) -> int | None:
    """Collect what has ended, orphans too. Returns the child's exit code once it has one."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            code = 128 - code if code < 0 else code


def _end_gently(child: int, grace_s: float) -> int:
    """SIGTERM to the server alone: it knows best in which order its processes should go."""
    _send(signal.SIGTERM, [child])
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        if (code := _reap(child)) is not None:
            return code
        time.sleep(POLL_S)
    return 128 + signal.SIGKILL


def _end_rest(child: int) -> None:
    """SIGTERM, then SIGKILL, to everything left, in whatever session it is."""
    _send(signal.SIGTERM, [-child, *descendants(os.getpid())])
    deadline = time.monotonic() + REST_S
    while descendants(os.getpid()) and time.monotonic() < deadline:
        time.sleep(POLL_S / 2)
        _reap(child)
    _send(signal.SIGKILL, [-child])
    # Again and again: a process may have forked between the look and the signal.
    while left := descendants(os.getpid()):
        _send(signal.SIGKILL, left)
        time.sleep(POLL_S / 2)
        _reap(child)


def _send(number: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
