"""Steps of a long run: each done once, however often it is called or killed."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from real_servers import ROOT, wait_for

from flows.steps import LOG, Step, StepFailed, StepsRefused, finished, read_log, run_steps, times


def step(name, code, *words):
    return Step(name=name, command=(sys.executable, "-c", code, *words))


def noting(name, file, *, status=0):
    """A step that adds its name to a file and ends with a status."""
    code = (
        "import sys; open(sys.argv[2], 'a').write(sys.argv[1] + '\\n'); sys.exit(int(sys.argv[3]))"
    )
    return step(name, code, name, str(file), str(status))


def noted(file):
    return file.read_text().split() if file.exists() else []


def test_steps_run_in_order_and_a_second_call_runs_none(tmp_path):
    file, told = tmp_path / "file", []
    steps = [noting(name, file) for name in ("a", "b", "c")]
    run_steps(steps, tmp_path / "run", told.append)
    run_steps(steps, tmp_path / "run", told.append)
    assert noted(file) == ["a", "b", "c"]
    assert list(finished(tmp_path / "run")) == ["a", "b", "c"]
    assert [line for line in told if line.startswith("[2/3] b: done in")]


def test_a_step_that_fails_ends_the_run_and_the_next_call_goes_on_with_it(tmp_path):
    file, mark = tmp_path / "file", tmp_path / "mark"
    once = (
        "import os, sys\n"
        "open(sys.argv[1], 'a').write('b\\n')\n"
        "if not os.path.exists(sys.argv[2]): open(sys.argv[2], 'w'); sys.exit(7)"
    )
    steps = [noting("a", file), step("b", once, str(file), str(mark)), noting("c", file)]
    with pytest.raises(StepFailed, match="step b ended with status 7"):
        run_steps(steps, tmp_path / "run", print)
    assert noted(file) == ["a", "b"]
    run_steps(steps, tmp_path / "run", print)
    assert noted(file) == ["a", "b", "b", "c"]


def test_a_step_whose_command_has_changed_is_refused_before_anything_runs(tmp_path):
    file = tmp_path / "file"
    run_steps([noting("a", file)], tmp_path / "run", print)
    other = noting("a", tmp_path / "other")
    with pytest.raises(StepsRefused, match="step a was done by another command"):
        run_steps([noting("new", file), other], tmp_path / "run", print)
    assert noted(file) == ["a"]


def test_a_step_that_began_with_other_weights_is_refused(tmp_path):
    file, model = tmp_path / "file", tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"one")
    (model / "config.json").write_text("{}")
    steps = [replace(noting("a", file), models=(str(model),)), noting("b", file)]
    run_steps(steps, tmp_path / "run", print)
    run_steps(steps, tmp_path / "run", print)
    (model / "model.safetensors").write_bytes(b"two")
    with pytest.raises(StepsRefused, match=f"step a was done with other weights than .* {model}"):
        run_steps(steps, tmp_path / "run", print)
    assert noted(file) == ["a", "b"]


def test_a_line_that_a_kill_cut_off_is_no_end_and_its_time_is_not_told(tmp_path):
    file, folder = tmp_path / "file", tmp_path / "run"
    steps = [noting("a", file), noting("b", file)]
    run_steps(steps, folder, print)
    lines = (folder / LOG).read_text().splitlines(keepends=True)
    (folder / LOG).write_text("".join(lines[:3]) + lines[3][:20])
    assert list(finished(folder)) == ["a"]
    run_steps(steps, folder, print)
    assert noted(file) == ["a", "b", "b"]
    assert [one["cut"] for one in times(folder).values()] == [0, 1]
    assert len(read_log(folder)) == 5


RUNNER = """
import sys
from pathlib import Path
from flows.steps import Step, run_steps
mark, folder = sys.argv[1:]
code = '''
import os, signal, sys, time
def note(text):
    with open(sys.argv[1], "a") as file:
        file.write(text + chr(10))
def end(*_):
    time.sleep(1)  # as a training that writes a checkpoint
    note("ended")
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
first = not os.path.exists(sys.argv[1])
note("began")
time.sleep(120 if first else 0)
'''
run_steps([Step(name="long", command=(sys.executable, "-c", code, mark))], Path(folder), print)
"""


def test_after_kill_9_a_step_ends_and_the_same_call_waits_for_that_and_goes_on(tmp_path):
    mark = tmp_path / "mark"
    command = [sys.executable, "-c", RUNNER, str(mark), str(tmp_path / "run")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    call = subprocess.Popen(command, cwd=ROOT, env=env)
    try:
        wait_for(lambda: noted(mark), what="the step's beginning")
    finally:
        call.send_signal(signal.SIGKILL)
        call.wait()
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert noted(mark) == ["began", "ended", "began"]
    assert "waiting for an earlier call to end" in done.stdout
    assert "long: done in" in done.stdout
    assert times(tmp_path / "run")["long"]["cut"] == 1
