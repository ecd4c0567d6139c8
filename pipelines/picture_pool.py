"""A pool of processes that prepare pictures, in which one picture can only ever end itself.

Not multiprocessing's pool: that imports the main module (Prefect, seconds and megabytes a worker)
into every worker, and loses every picture in flight when one worker dies.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from pipelines.picture_refs import PictureRef
from pipelines.picture_worker import Workplace

MAX_WORKERS = 8
PICTURE_TIMEOUT_S = 300.0
START_TIMEOUT_S = 120.0
_ROOT = str(Path(__file__).resolve().parent.parent)
# Our package by its own path, whatever folder the run was started in, without putting that path
# before the standard library for everything else.
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); import pipelines; del sys.path[0]; "
    "from pipelines.picture_worker import main; main(int(sys.argv[2]))"
)


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What the pool says of one picture: either `facts`, or why it was rejected.

    `facts` is what `picture_worker.learn_picture` returns. `sha256` of a rejected picture is None
    when its bytes could not be read.
    """

    facts: dict[str, Any] | None = None
    reason: str = ""
    detail: str = ""
    sha256: str | None = None


class _Died(Exception):
    """A worker ended, or was ended, over a picture."""


class PicturePool:
    """Worker processes for `learn`; use as a context manager.

    A worker that dies over a picture is replaced and the picture tried once more with no other
    picture in work, since memory may have run out for all of them together; if the worker dies
    again the picture is rejected as `picture:crashed_decoder`.
    """

    def __init__(
        self, place: Workplace, *, workers: int = 0, timeout_s: float = PICTURE_TIMEOUT_S
    ) -> None:
        self.workers = workers or min(MAX_WORKERS, _cores())
        self._place = place
        self._timeout_s = timeout_s
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(self.workers):
            self._idle.put(None)
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="pictures")
        self._gate = _Gate()
        self._started: set[_Worker] = set()
        self._given_up = False

    def learn(self, ref: PictureRef) -> Future[Learnt]:
        """Learn a picture. The future raises OSError when the build's folder cannot be written."""
        return self._threads.submit(self._learn, ref)

    def worker_pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        return [worker.process.pid for worker in list(self._started)]

    def __enter__(self) -> PicturePool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            # Whoever waits for these pictures is gone: don't finish what is in work either.
            self._given_up = True
            self._threads.shutdown(wait=False, cancel_futures=True)
            for worker in list(self._started):
                worker.process.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in list(self._started):
            self._end(worker)

    def _learn(self, ref: PictureRef) -> Learnt:
        try:
            with self._gate.shared():
                return self._ask(ref)
        except _Died:
            pass
        try:
            with self._gate.alone():
                return self._ask(ref)
        except _Died as death:
            return Learnt(reason="picture:crashed_decoder", detail=f"twice: {death}")

    def _ask(self, ref: PictureRef) -> Learnt:
        worker = self._idle.get()
        try:
            if worker is None or worker.process.poll() is not None:
                if worker is not None:
                    self._end(worker)
                worker = None
                if self._given_up:
                    raise _Died("the run has ended")
                worker = _start_worker(self._place)
                self._started.add(worker)
            kind, value = worker.ask(ref, self._timeout_s)
        except _Died as death:
            if worker is not None:
                status = self._end(worker)
                worker = None
                raise _Died(f"{death} ({_say_status(status)})") from death
            raise
        finally:
            self._idle.put(worker)
        if kind == "failed":
            raise value
        if kind == "rejected":
            reason, detail, digest = value
            return Learnt(reason=reason, detail=detail, sha256=digest)
        return Learnt(facts=value)

    def _end(self, worker: _Worker) -> int:
        self._started.discard(worker)
        return worker.end()


class _Worker:
    """One worker process and the socket to it."""

    def __init__(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        self.process = process
        self._connection = connection

    def ask(self, question: Any, timeout_s: float) -> tuple[str, Any]:
        try:
            self._connection.send(question)
            return self.receive(timeout_s)
        except (EOFError, OSError) as error:
            raise _Died("the worker process died") from error

    def receive(self, timeout_s: float) -> tuple[str, Any]:
        if not self._connection.poll(timeout_s):
            self.process.kill()
            raise _Died(f"no answer after {timeout_s:g} s")
        return self._connection.recv()

    def tell(self, value: Any) -> None:
        self._connection.send(value)

    def end(self) -> int:
        """Close the socket, and make sure. Returns the exit status."""
        self._connection.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
        status = self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()
        return status


def _start_worker(place: Workplace) -> _Worker:
    log = Path(place.build_dir) / "logs" / "pictures.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    ours, theirs = multiprocessing.Pipe()
    with open(log, "ab") as errors, theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, _ROOT, str(theirs.fileno())],
            stdin=subprocess.PIPE,
            stdout=errors,
            stderr=errors,
            pass_fds=[theirs.fileno()],
            # Ctrl-C is the run's to handle; the workers follow when it goes.
            start_new_session=True,
        )
    worker = _Worker(process, ours)
    try:
        worker.tell(place)
        worker.receive(START_TIMEOUT_S)
    except (_Died, EOFError, OSError) as error:
        status = worker.end()
        raise RuntimeError(
            f"a picture worker did not start (status {status}); see {log}"
        ) from error
    return worker


def _cores() -> int:
    # Not every system says which cores are ours.
    ours = getattr(os, "sched_getaffinity", None)
    return len(ours(0)) if ours else os.cpu_count() or 1


def _say_status(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"


class _Gate:
    """Many at once, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._want_alone = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._want_alone == 0)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._want_alone += 1
            self._changed.wait_for(lambda: self._inside == 0)
            self._inside = 1
        try:
            yield
        finally:
            with self._changed:
                self._want_alone -= 1
                self._inside = 0
                self._changed.notify_all()
