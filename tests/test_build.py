"""A build folder: one run at a time, and what was fixed at its first run stays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.build import BuildRefused, fixed_buckets, locked_build, read_build

ROOT = Path(__file__).resolve().parent.parent
HOLD = """
import sys, time
from pathlib import Path
from pipelines.build import locked_build
with locked_build(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other_run(tmp_path):
    """A process that owns the build."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "build")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "mine\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_run_on_one_build_is_refused_and_told_who_owns_it(tmp_path, other_run):
    with (
        pytest.raises(BuildRefused, match=f"process {other_run.pid}.*another 'output'"),
        locked_build(tmp_path / "build"),
    ):
        pass


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_lock_goes_with_the_process_however_it_ends(tmp_path, other_run, how):
    os.kill(other_run.pid, how)
    other_run.wait()
    with locked_build(tmp_path / "build") as build:
        assert build == tmp_path / "build"
        assert (build / ".lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_is_given_back_at_the_end_and_on_an_error(tmp_path):
    with locked_build(tmp_path / "a" / "b"):
        pass
    with pytest.raises(ZeroDivisionError), locked_build(tmp_path / "a" / "b"):
        _ = 1 / 0
    with locked_build(tmp_path / "a" / "b") as build:
        assert build.is_dir()


def test_one_process_cannot_own_a_build_twice(tmp_path):
    with (
        locked_build(tmp_path),
        pytest.raises(BuildRefused, match="another run"),
        locked_build(tmp_path),
    ):
        pass


def test_a_child_that_outlives_the_run_does_not_keep_the_lock(tmp_path):
    with locked_build(tmp_path):
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
    try:
        with locked_build(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_folder_that_cannot_be_written_is_refused_with_its_name(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(BuildRefused, match=r"file/build: cannot be written to"),
        locked_build(tmp_path / "file" / "build"),
    ):
        pass
    with (
        pytest.raises(BuildRefused, match="cannot be written to"),
        locked_build(tmp_path / "file"),
    ):
        pass


@pytest.mark.parametrize("step", ["open", "ftruncate", "pwrite"])
def test_a_full_or_read_only_disk_is_refused_with_its_name(tmp_path, monkeypatch, step):
    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"pipelines.build.os.{step}", fail)
        with pytest.raises(BuildRefused, match="cannot be written to"), locked_build(tmp_path):
            pass
    with locked_build(tmp_path):
        pass


def fix(build, kind="gen", *, wanted=None, rows=10, shard_rows=4):
    return fixed_buckets(build, kind, wanted=wanted, rows=rows, shard_rows=shard_rows)


@pytest.mark.parametrize(("rows", "buckets"), [(0, 1), (1, 1), (4, 1), (5, 2), (10, 3)])
def test_without_a_number_there_is_a_bucket_for_each_shard(tmp_path, rows, buckets):
    assert fix(tmp_path, rows=rows) == buckets
    assert read_build(tmp_path) == {"kind": "gen", "buckets": buckets}


def test_the_number_of_buckets_stays_when_rows_come_and_shards_grow(tmp_path):
    assert fix(tmp_path) == 3
    assert fix(tmp_path, rows=1000) == 3
    assert fix(tmp_path, shard_rows=1) == 3
    assert fix(tmp_path, wanted=3) == 3


def test_another_number_of_buckets_is_refused(tmp_path):
    assert fix(tmp_path, wanted=7) == 7
    with pytest.raises(BuildRefused, match="begun with buckets: 7, the recipe says 8"):
        fix(tmp_path, wanted=8)


def test_a_build_of_the_other_kind_is_refused(tmp_path):
    fix(tmp_path, "edit")
    with pytest.raises(BuildRefused, match="holds a build-firm-edit build, not gen"):
        fix(tmp_path, "gen")


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"kind": "gen"}', '{"buckets": 3}'])
def test_a_folder_that_is_no_build_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "build.json").write_text(content)
    with pytest.raises(BuildRefused, match="not a build folder"):
        read_build(tmp_path)
    if content is not None:
        with pytest.raises(BuildRefused, match="not a build folder"):
            fix(tmp_path)
