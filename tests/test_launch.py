"""Managed servers: started, waited for, and gone with the run however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from pipelines import launch
from pipelines.endpoint_settings import Launch
from pipelines.launch import LaunchFailed, check_running, start_server, stop_server
from pipelines.launch import wait_until_ready as ready
from pipelines.launch_faults import cure_for, last_lines
from pipelines.launch_guard import descendants

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="guards rest on /proc and prctl")
_FAKE = str(Path(__file__).with_name("fake_server.py"))
_ROOT = str(Path(__file__).parent.parent)


def _launch(*arguments: str) -> Launch:
    return Launch(model="fake", command=(sys.executable, _FAKE, "{port}", *arguments))


def _pids(path: Path) -> list[int]:
    return [int(pid) for pid in path.read_text().split()]


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def _gone(pids: list[int], within_s: float = 8) -> bool:
    deadline = time.monotonic() + within_s
    while any(_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _sleep(_: int) -> int:
    time.sleep(0.01)
    return os.getpid()


def test_a_server_gets_ready_and_stopping_leaves_nothing(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    server = start_server(
        _launch("--delay", "0.5", "--pids", str(pids)), log_path=tmp_path / "logs/server.log"
    )
    asyncio.run(ready(server, timeout_s=30))
    check_running(server)
    below = descendants(server.pid)
    assert set(_pids(pids)) < set(below)
    stop_server(server)
    assert _gone([server.pid, *below], 0.5)
    assert server.process.returncode == 128 + signal.SIGTERM
    stop_server(server)  # a second time is no error
    with pytest.raises(LaunchFailed, match="exit code 143"):
        check_running(server)


def test_one_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "GRACE_S", 0.5)
    pids = tmp_path / "pids"
    server = start_server(_launch("--stubborn", "--pids", str(pids)), log_path=tmp_path / "log")
    asyncio.run(ready(server, timeout_s=30))
    stop_server(server)
    assert _gone(_pids(pids), 0.5)


@pytest.mark.parametrize("victim", ["parent", "outer guard", "inner guard"])
@pytest.mark.parametrize("with_pool", [False, True])
def test_kill_9_of_anyone_above_leaves_nothing(
    tmp_path: Path, victim: str, with_pool: bool
) -> None:
    pids = tmp_path / "pids"
    script = textwrap.dedent(f"""
        import asyncio, os, sys, time
        from multiprocessing import get_context
        from pathlib import Path
        sys.path[:0] = [{_ROOT!r}, {str(Path(__file__).parent)!r}]
        from pipelines.launch import start_server, wait_until_ready
        from pipelines.endpoint_settings import Launch
        launch = Launch(model="m", command=[sys.executable, {_FAKE!r}, "{{port}}",
                                            "--pids", {str(pids)!r}])
        server = start_server(launch, log_path=Path({str(tmp_path / "log")!r}))
        if {with_pool}:
            # Forked while the server runs: such workers outlive a kill -9 of their parent.
            pool = get_context("fork").Pool(2)
            pool.map(abs, range(4))
        asyncio.run(wait_until_ready(server, timeout_s=30))
        print(server.pid, flush=True)
        time.sleep(600)
    """)
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        outer = int(parent.stdout.readline())
        family = descendants(parent.pid)
        inner = next(pid for pid in family if _parent_of(pid) == outer)
        served = [outer, inner, *_pids(pids)]
        assert set(served) <= set(family)
        os.kill({"parent": parent.pid, "outer guard": outer, "inner guard": inner}[victim], 9)
        assert _gone(served)
    finally:
        for pid in [*descendants(parent.pid), parent.pid]:
            os.kill(pid, 9)
        parent.wait()
        for pid in family:
            if _alive(pid):
                os.kill(pid, 9)


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_pool_forked_before_or_after_does_not_keep_a_stopped_server(tmp_path: Path) -> None:
    with get_context("fork").Pool(1) as before:
        server = start_server(_launch(), log_path=tmp_path / "log")
        with get_context("fork").Pool(1) as after:
            asyncio.run(ready(server, timeout_s=30))
            assert before.map(_sleep, [1]) != after.map(_sleep, [1])
            below = descendants(server.pid)
            stop_server(server)
            assert _gone([server.pid, *below], 0.5)


def test_a_server_that_dies_early_is_told_with_code_log_and_cure(tmp_path: Path) -> None:
    log = tmp_path / "judge-server.log"
    log.write_text("RuntimeError: out of memory, in a run long ago\n")
    server = start_server(
        _launch("--die", "3", "--say", "OSError: [Errno 98] Address already in use"), log_path=log
    )
    with pytest.raises(LaunchFailed) as failed:
        asyncio.run(ready(server, timeout_s=30))
    text = str(failed.value)
    assert "exit code 3" in text
    assert str(log) in text
    assert "Address already in use" in text
    assert "took the port" in text
    assert "memory" not in text


def test_a_command_that_is_not_there_is_told_with_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(LaunchFailed, match=r"'no-such-vllm' not found.*make setup"):
        start_server(Launch(model="m", command=("no-such-vllm",)), log_path=tmp_path / "log")
    with pytest.raises(LaunchFailed, match=r"no model folder \./nothing"):
        start_server(
            Launch(model="./nothing", command=(sys.executable,)), log_path=tmp_path / "log"
        )


def test_a_server_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    server = start_server(_launch("--delay", "600", "--pids", str(pids)), log_path=tmp_path / "log")
    with pytest.raises(LaunchFailed, match=r"not ready after 1\.5 s"):
        asyncio.run(ready(server, timeout_s=1.5))
    assert server.process.returncode is not None
    assert _gone(_pids(pids), 0.5)


def test_the_default_command_is_the_venv_where_there_is_one(tmp_path: Path) -> None:
    made = launch.server_command(Launch(model="m", args=("--x", "{port}")), port=7, folder=tmp_path)
    assert made[:7] == ["vllm", "serve", "m", "--host", "127.0.0.1", "--port", "7"]
    assert made[-2:] == ["--x", "7"]
    assert '{"backend":"xgrammar","disable_any_whitespace":true}' in made
    python = tmp_path / ".venv-vllm/bin/python"
    python.parent.mkdir(parents=True)
    python.touch()
    made = launch.server_command(Launch(model="m"), port=7, folder=tmp_path)
    assert made[:5] == [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", "m"]


@pytest.mark.parametrize("halves", [True, False])
def test_a_processor_without_bfloat16_serves_in_float32(halves, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(launch, "has_gpu", lambda: False)
    monkeypatch.setattr(launch, "cpu_has_bfloat16", lambda: halves)
    made = launch.server_command(Launch(model="m"), port=7, folder=tmp_path)
    assert (made[-2:] == ["--dtype", "float32"]) is not halves


def test_log_lines_are_shown_without_colours_bars_and_blanks(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n\x1b[32mINFO\x1b[0m up\n\n  10%|# | 1/10\r100%|##| 10/10\n=====\nlast\n")
    assert last_lines(log, 4).shown == ("INFO up", "last")
    assert last_lines(tmp_path / "none", 0).shown == ()


@pytest.mark.parametrize(
    ("line", "cure"),
    [
        ("ModuleNotFoundError: No module named 'vllm'", "make setup"),
        ("ValueError: Free memory on device (1.0/8.0 GiB) is less than desired", "max-model-len"),
        ("OSError: x is not a local folder and is not a valid model identifier", "config.json"),
        ("api_server.py: error: unrecognized arguments: --no", "0.12"),
        ("anything else", "whole story"),
    ],
)
def test_common_faults_have_a_cure(line: str, cure: str) -> None:
    assert cure in cure_for(line, 1)
