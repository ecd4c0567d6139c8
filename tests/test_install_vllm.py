"""The server environment's installer and the import hook it puts there."""

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


def install(folder, **env):
    command = ["bash", "scripts/install_vllm.sh", str(folder)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=60
    )


def test_without_python_the_installer_says_what_to_do(tmp_path):
    done = install(tmp_path / "venv", PYTHON="python3.999")
    assert done.returncode == 1
    assert "no python3.999 on this machine" in done.stderr
    assert "set PYTHON=" in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.skipif(not COMPLETE.exists(), reason="the server environment is not installed")
def test_a_complete_environment_is_left_alone_within_a_second():
    before = COMPLETE.stat().st_mtime_ns
    started = time.monotonic()
    done = install(".venv-vllm")
    if "torch" in done.stdout:
        pytest.skip("the environment is of other inputs, and is being renewed")
    assert done.returncode == 0, done.stderr
    assert "is complete" in done.stdout
    assert time.monotonic() - started < 1
    assert COMPLETE.stat().st_mtime_ns == before


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
