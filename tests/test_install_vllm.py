"""The installers of the server's and the trainers' environments, and the import hook in both."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import torchvision_operators  # noqa: E402 - it stands in scripts/, which is no package

COMPLETE = ROOT / ".venv-vllm" / ".complete"
both_installers = pytest.mark.parametrize("what", ["vllm", "train"])


def install(what, folder, **env):
    command = ["bash", f"scripts/install_{what}.sh", str(folder)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=60
    )


@both_installers
def test_without_python_the_installer_says_what_to_do(what, tmp_path):
    done = install(what, tmp_path / "venv", PYTHON="python3.999")
    assert done.returncode == 1
    assert "no python3.999 on this machine" in done.stderr
    assert "set PYTHON=" in done.stderr
    assert not (tmp_path / "venv").exists()


@both_installers
def test_a_complete_environment_is_left_alone_within_a_second(what):
    complete = ROOT / f".venv-{what}" / ".complete"
    if not complete.exists():
        pytest.skip("the environment is not installed")
    before = complete.stat().st_mtime_ns
    started = time.monotonic()
    done = install(what, f".venv-{what}")
    if "torch" in done.stdout:
        pytest.skip("the environment is of other inputs, and is being renewed")
    assert done.returncode == 0, done.stderr
    assert "is complete" in done.stdout
    assert time.monotonic() - started < 1
    assert complete.stat().st_mtime_ns == before


def test_the_import_hook_touches_nothing_where_torchvision_has_its_operators():
    healthy = SimpleNamespace(_has_ops=lambda: True)
    assert torchvision_operators.declare_missing(healthy) == []
    assert "torch" not in sys.modules


def test_the_import_hook_fires_for_one_module_only():
    finder = torchvision_operators._Finder()
    for name in ("torch", "torchvision", "torchvision.ops", "json"):
        assert finder.find_spec(name, None) is None


@pytest.mark.skipif(not COMPLETE.exists(), reason="the server environment is not installed")
def test_the_server_environment_imports_torchvision_and_starts_without_torch():
    code = "import sys; assert 'torch' not in sys.modules; import torchvision.transforms.v2"
    done = subprocess.run(
        [str(COMPLETE.parent / "bin" / "python"), "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
