"""The whole example in one command: critics, seeds, curves of reward and of true measures.

    .venv/bin/python -m examples.grpo_shapeworld.run --task gen --critic judge=MODEL_FOLDER \
        --critic base=foundry/shapeworld/student_base --seeds 3 --out models/grpo
    .venv/bin/python -m examples.grpo_shapeworld.run --task edits --task clumsy --critic truth \
        --critic judge=foundry/shapeworld/judge --out models/grpo-edits

For each task, critic and formula of the reward a policy is trained for each seed; all of a task
begin with one warm-started policy. A critic's rewards come from a reward server on real vLLM, those
of `truth` from the rules of ShapeWorld. The same command goes on after a break.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from examples.grpo_shapeworld.arms import Arm, about_critic, refusal
from examples.grpo_shapeworld.prompts import TASKS
from examples.grpo_shapeworld.report import write_report
from pipelines.launch import guard

TRAINER = ".venv-train/bin/python"
TRUTH = "truth"
# So long a server may take to finish what is at work.
_GRACE_S = 60.0


def main() -> int:
    """Train what is not trained yet and write the report. Returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--task", action="append", required=True, choices=TASKS)
    parser.add_argument(
        "--critic",
        action="append",
        required=True,
        type=_critic,
        metavar="NAME=MODEL",
        help=f"repeatable; or `{TRUTH}`. The first is compared with the others",
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--out", type=Path, default=Path("models/grpo"))
    options = parser.parse_args()
    critics = dict(options.critic)
    told = ", ".join(
        f"{name} = {model or 'the rules themselves'}" for name, model in critics.items()
    )
    print(f"critics: {told}", flush=True)
    began = time.monotonic()
    arms = [
        Arm(task=TASKS[t], critic=c, model=m, formula=f, folder=options.out / t / f"{c}-{f}")
        for t in options.task
        for c, m in critics.items()
        for f in TASKS[t].formulas
    ]
    for arm in arms:
        if (status := _train(arm, options.seeds, options.steps)) != 0:
            return status
    found = {
        task: {
            (arm.critic, arm.formula): [
                json.loads(arm.result(seed).read_text()) for seed in range(options.seeds)
            ]
            for arm in arms
            if arm.task.name == task
        }
        for task in options.task
    }
    about = {name: about_critic(model) for name, model in critics.items()}
    how = f"python -m examples.grpo_shapeworld.run {shlex.join(sys.argv[1:])}"
    print(write_report(options.out, found, about, options.steps, how))
    print(f"this call took {(time.monotonic() - began) / 60:.0f} minutes")
    return 0


def _critic(text: str) -> tuple[str, str | None]:
    name, _, model = text.partition("=")
    known = re.fullmatch(r"\w+", name) and model and Path(model).is_dir()
    if not known and text != TRUTH:
        raise argparse.ArgumentTypeError(
            f"'{text}': give NAME=FOLDER of a model that is there, or {TRUTH}"
        )
    return name, model or None


def _train(arm: Arm, seeds: int, steps: int) -> int:
    """Train the seeds of an arm that have no result. Returns the exit status."""
    if told := refusal(arm, steps):
        print(told)
        return 2
    todo = [seed for seed in range(seeds) if not arm.result(seed).exists()]
    if not todo:
        return 0
    with _rewards_of(arm) as reward:
        for seed in todo:
            print(f"{arm.folder}, seed {seed}", flush=True)
            command = [TRAINER, "-m", "examples.grpo_shapeworld.train", "--task", arm.task.name]
            command += ["--formula", arm.formula, *reward]
            command += ["--out", str(arm.result(seed).parent), "--warm", str(arm.warm)]
            command += ["--seed", str(seed), "--steps", str(steps)]
            environment = {**os.environ, "PYTHONPATH": os.getcwd()}
            done = subprocess.run(_guarded(command), env=environment, check=False)
            if done.returncode:
                return done.returncode
    return 0


def _guarded(command: Sequence[str]) -> list[str]:
    """The command as one that does not outlive this process, however that ends."""
    return [*guard(os.getpid(), _GRACE_S), *command]


@contextmanager
def _rewards_of(arm: Arm) -> Iterator[Sequence[str]]:
    """What tells a training where its rewards come from; a reward server runs meanwhile."""
    if arm.model is None:
        yield ("--truth",)
        return
    config = arm.folder / "reward.yaml"
    settings = {"endpoint": {"launch": {"model": arm.model}}, "port": 0}
    settings |= {"mode": arm.task.mode, arm.task.formula_setting: arm.formula}
    config.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "foundry.rewards.serve", "--config", str(config)]
    with subprocess.Popen(_guarded(command), stdout=subprocess.PIPE, text=True) as server:
        try:
            for line in server.stdout or ():
                if found := re.search(r"rewards at (\S+), mode", line):
                    yield "--url", found[1]
                    break
            else:
                raise SystemExit("the reward server did not start; its own words are above")
        finally:
            server.terminate()


if __name__ == "__main__":
    sys.exit(main())
