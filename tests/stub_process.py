"""The stub server as a child process: for crash tests, restarts and benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen


class StubProcess:
    """A stub in a process of its own. `url` ends in `/v1` and survives `kill` and `start`."""

    def __init__(self, cpu: int | None, behaviour: dict[str, Any]) -> None:
        self._cpu, self._behaviour, self._port = cpu, behaviour, 0
        self._past: list[dict[str, Any]] = []
        self.start()

    @property
    def url(self) -> str:
        """Base URL of the OpenAI routes."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def pid(self) -> int:
        """Process id of the present child."""
        return self._child.pid

    def start(self) -> None:
        """Start the child, on the port of the one before if there was one."""
        command = [sys.executable, str(Path(__file__).with_name("stub_server.py")), "--print-port"]
        command += ["--port", str(self._port), "--behaviour", json.dumps(self._behaviour)]
        command += [] if self._cpu is None else ["--cpu", str(self._cpu)]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line.strip().isdigit():
            raise RuntimeError(f"the stub did not start: exit code {self._child.wait()}")
        self._port = int(line)

    def kill(self) -> None:
        """kill -9; what its log held is kept for `requests`."""
        self._past += self.log()["requests"]
        self.end()

    def end(self) -> None:
        """kill -9 and collect the child."""
        self._child.kill()
        self._child.wait()
        if self._child.stdout:
            self._child.stdout.close()

    def become(self, **behaviour: Any) -> None:
        """Change fields of the running behaviour; a later `start` keeps them."""
        self._behaviour = {**self._behaviour, **behaviour}
        self._fetch("/stub/behaviour", json.dumps(behaviour).encode())

    def reset(self) -> None:
        """Empty log, counters and picture cache."""
        self._past.clear()
        self._fetch("/stub/reset", b"")

    def log(self) -> dict[str, Any]:
        """Counters and requests of the present child; see `Stub.log`."""
        return self._fetch("/stub/log")

    def requests(self) -> list[dict[str, Any]]:
        """All requests since the first start or the last reset, those of killed children too."""
        return self._past + self.log()["requests"]

    def _fetch(self, path: str, data: bytes | None = None) -> Any:
        request = Request(self.url.removesuffix("/v1") + path, data=data)
        with urlopen(request, timeout=60) as reply:
            return json.loads(reply.read())


@contextmanager
def stub_process(*, cpu: int | None = None, **behaviour: Any) -> Iterator[StubProcess]:
    """Run a stub with these `Behaviour` fields as a child process, on one core if told."""
    stub = StubProcess(cpu, behaviour)
    try:
        yield stub
    finally:
        stub.end()
