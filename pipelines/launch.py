"""Managed servers: started for a run, waited for, and gone when the run is, however it ended.

Between the run and the server stand two small guards (see `launch_guard`), so that neither a
kill -9 of the run nor one of a guard leaves a process behind. On Linux; elsewhere best effort.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from pipelines import launch_guard
from pipelines.endpoint_settings import Launch
from pipelines.hardware import cpu_has_bfloat16, has_gpu
from pipelines.launch_faults import cure_for, last_lines

# A server that does not end by itself within this time of SIGTERM is killed.
GRACE_S = 10.0
_OUTER_GRACE_S = GRACE_S + launch_guard.REST_S + 2.0
_VENV_PYTHON = Path(".venv-vllm/bin/python")
# Without disable_any_whitespace weak models write legal whitespace without end, and only the
# server can forbid it.
_SUITED_TO_US = (
    "--structured-outputs-config",
    '{"backend":"xgrammar","disable_any_whitespace":true}',
    "--limit-mm-per-prompt",
    '{"image":2,"video":0}',
    "--enable-prompt-tokens-details",
)
# On CPU the share is of memory that must be free at start; the cache is set by the environment.
_CPU_ARGS = ("--gpu-memory-utilization", "0.3", "--enforce-eager")
_WITHOUT_BFLOAT16 = ("--dtype", "float32")
_CPU_ENV = {"VLLM_CPU_KVCACHE_SPACE": "1"}


class LaunchFailed(Exception):
    """A server did not start or died: the command, how it ended, its last lines and the cure."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that was started. `url` ends in `/v1`; `pid` is of its outer guard.

    What the server says is in `log_path` from byte `log_start` on, after that of runs before.
    """

    url: str
    model: str
    pid: int
    command: tuple[str, ...]
    log_path: Path
    log_start: int
    process: subprocess.Popen[bytes]


def start_server(launch: Launch, *, log_path: Path, folder: Path | None = None) -> Server:
    """Start a server on a free port of this machine; returns at once, see `wait_until_ready`.

    `folder` is where it runs and where `.venv-vllm` is looked for; empty: the current one.

    Raises LaunchFailed for a command or a model folder that is not there.
    """
    folder = (folder or Path.cwd()).absolute()
    port = _free_port()
    command = server_command(launch, port=port, folder=folder)
    if shutil.which(command[0], path=launch.env.get("PATH")) is None:
        raise LaunchFailed(
            f"cannot start a server for {launch.model}: command '{command[0]}' not found. "
            "'make setup' installs vLLM into .venv-vllm; where it is installed elsewhere, name it "
            "in launch.command, or start the server yourself and give its url instead."
        )
    if launch.model.startswith(("/", "./", "../", "~")) and not (folder / launch.model).exists():
        raise LaunchFailed(
            f"cannot start a server: there is no model folder {launch.model}. "
            "Correct launch.model; the bundled judge is foundry/shapeworld/judge."
        )
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with open(log_path, "ab") as log:
        log.write(f"$ {shlex.join(command)}\n".encode())
        log.flush()
        start = log.tell()
        process = subprocess.Popen(
            [
                *guard(os.getpid(), _OUTER_GRACE_S),
                *guard(0, GRACE_S),
                *command,
            ],
            cwd=folder,
            env={**os.environ, **_environment(launch, folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C is the run's to handle: it stops the server when it has put its work away.
            start_new_session=True,
        )
    return Server(
        url=f"http://127.0.0.1:{port}/v1",
        model=launch.model,
        pid=process.pid,
        command=tuple(command),
        log_path=log_path,
        log_start=start,
        process=process,
    )


async def wait_until_ready(server: Server, *, timeout_s: float) -> None:
    """Wait until the server answers `/health` with 200.

    Raises LaunchFailed, with the server stopped, when it dies or needs longer than `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while not await _is_healthy(session, server):
            if server.process.poll() is not None:
                raise _failed(server, f"ended with exit code {server.process.returncode}")
            if time.monotonic() > deadline:
                await asyncio.to_thread(stop_server, server)
                raise _failed(server, f"was not ready after {timeout_s:g} s (ready_timeout_s)")
            await asyncio.sleep(0.25)


def check_running(server: Server) -> None:
    """Raises LaunchFailed, with the end of its log, when a server that was ready has ended."""
    if server.process.poll() is not None:
        raise _failed(server, f"ended with exit code {server.process.returncode}")


def stop_server(server: Server) -> None:
    """Stop a server and wait until all its processes are gone; one that has ended is no error."""
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
    try:
        server.process.wait(_OUTER_GRACE_S + 2 * launch_guard.REST_S)
    except subprocess.TimeoutExpired:
        # The inner guard sees this and takes the rest down.
        server.process.kill()
        server.process.wait()


def server_command(launch: Launch, *, port: int, folder: Path) -> list[str]:
    """The command line of a server: the recipe's, or vLLM's with what suits us."""
    if launch.command:
        command = list(launch.command)
    else:
        python = folder / _VENV_PYTHON
        if python.exists():
            # The CPU wheel has no working `vllm` command.
            command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model"]
        else:
            command = ["vllm", "serve"]
        command += ["{model}", "--host", "127.0.0.1", "--port", "{port}", *_SUITED_TO_US]
        if not has_gpu():
            command += (*_CPU_ARGS, *(() if cpu_has_bfloat16() else _WITHOUT_BFLOAT16))
    # Not str.format: arguments are often JSON.
    return [
        part.replace("{model}", launch.model).replace("{port}", str(port))
        for part in (*command, *launch.args)
    ]


def _environment(launch: Launch, folder: Path) -> dict[str, str]:
    env = {"VLLM_NO_USAGE_STATS": "1"}
    if not has_gpu():
        env |= _CPU_ENV
    if (folder / launch.model).is_dir():
        env["HF_HUB_OFFLINE"] = "1"
    # What the user has set in either place wins.
    return {name: os.environ.get(name, value) for name, value in env.items()} | launch.env


def guard(parent: int, grace_s: float) -> list[str]:
    """What stands before a command that shall not outlive a process (0: the one that starts it).

    `grace_s` is between SIGTERM and SIGKILL.
    """
    # By its path and isolated: the same from any folder, wheel or checkout, in milliseconds.
    return [sys.executable, "-I", "-S", launch_guard.__file__, str(parent), str(grace_s)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def _is_healthy(session: aiohttp.ClientSession, server: Server) -> bool:
    try:
        async with session.get(server.url.removesuffix("/v1") + "/health") as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


def _failed(server: Server, how: str) -> LaunchFailed:
    lines = last_lines(server.log_path, server.log_start)
    cure = cure_for(lines.all_text, server.process.returncode)
    shown = "\n".join(f"    {line}" for line in lines.shown) or "    (it said nothing)"
    return LaunchFailed(
        f"the server for {server.model} {how}.\n"
        f"  command: {shlex.join(server.command)}\n"
        f"  log: {server.log_path}, which ends\n{shown}\n"
        f"  {cure}"
    )
