"""Real servers for tests: processes with a log, waited for and taken down with their children."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.endpoint_settings import Launch
from pipelines.launch import server_command

JUDGE = "foundry/shapeworld/judge"
ROOT = Path(__file__).parent.parent
PYTHON = sys.executable
VLLM_PYTHON = str(ROOT / ".venv-vllm/bin/python")
PREFECT = str(Path(sys.executable).with_name("prefect"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def background(command, log, env=None, cwd=ROOT):
    """Start a command in a session of its own, its output in a file."""
    with open(log, "ab") as out:
        return subprocess.Popen(
            command, env=env, cwd=cwd, stdout=out, stderr=out, start_new_session=True
        )


def stop(process, grace_s=20):
    """Take a background command down with its whole process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(grace_s)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def wait_for(condition, timeout_s=90, what="a condition", poll_s=0.1):
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(poll_s)


def answers(url):
    """Whether a URL answers 200."""
    with urllib.request.urlopen(url, timeout=5) as response:
        return response.status == 200


@contextmanager
def prefect_server(home):
    """A Prefect server of its own; yields the environment that commands talk to it with."""
    port = free_port()
    env = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_COLORS": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PYTHONPATH": str(ROOT),
        "PWD": str(ROOT),
        # The factory has none of the proxies' business on this machine.
        "NO_PROXY": "127.0.0.1,localhost",
    }
    command = [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = background(command, home / "server.log", env)
    try:
        wait_for(lambda: answers(f"{env['PREFECT_API_URL']}/health"), what="the Prefect server")
        yield env
    finally:
        stop(server)


def run(command, env=None, cwd=ROOT, timeout_s=300):
    """Run a command to its end; output as text."""
    return subprocess.run(
        command, env=env, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def with_torch(script):
    """Run Python code in the environment that has torch, to a good end: its last printed line."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = run([VLLM_PYTHON, "-c", script], env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def trl_python():
    """The Python of an environment that has TRL; where there is none the test is skipped."""
    for name in (".venv-train", ".venv-vllm"):
        python = ROOT / name / "bin/python"
        if python.exists():
            done = subprocess.run([python, "-c", "import trl"], capture_output=True, check=False)
            if done.returncode == 0:
                return str(python)
    return pytest.skip("TRL is installed in neither .venv-train nor .venv-vllm")


class VllmProcess:
    """A real vLLM with the bundled judge, on one port for its whole life of kills and starts."""

    def __init__(self, log):
        self.port, self.log, self.process = free_port(), log, None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self, *, wait=True):
        launch = Launch(model=JUDGE)
        command = server_command(launch, port=self.port, folder=ROOT)
        env = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
        env |= {"HF_HUB_OFFLINE": "1"}
        self.process = background(command, self.log, env)
        if wait:
            self.wait()

    def wait(self):
        health = self.url.removesuffix("/v1") + "/health"

        def ready():
            assert self.process.poll() is None, f"vLLM died, see {self.log}"
            return answers(health)

        wait_for(ready, timeout_s=300, what="vLLM", poll_s=0.5)

    def kill(self):
        """kill -9 of the whole server, engine and workers included."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process is not None:
            stop(self.process, grace_s=30)

    def answered(self):
        """Requests that ended well since the start, from its metrics."""
        with urllib.request.urlopen(self.url.removesuffix("/v1") + "/metrics", timeout=20) as page:
            lines = page.read().decode().splitlines()
        counted = [line for line in lines if line.startswith("vllm:request_success_total{")]
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in counted))
