"""The whole example in one command: critics, seeds, curves of reward and of true score.

    .venv/bin/python -m examples.grpo_shapeworld.run --critic trained=models/loop/dpo/model \
        --critic base=foundry/shapeworld/student_base --seeds 3 --out models/grpo

For each critic a reward server is started on real vLLM, and a policy is trained for each seed; all
begin with one warm-started policy. The same command goes on after a break.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from examples.grpo_shapeworld.report import write_report
from trainers.base_model import weights_digest

TRAINER = ".venv-train/bin/python"


def main() -> int:
    """Train what is not trained yet and write the report. Returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--critic", action="append", required=True, help="NAME=MODEL, repeatable")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--out", type=Path, default=Path("models/grpo"))
    options = parser.parse_args()
    critics = dict(critic.split("=", 1) for critic in options.critic)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, model in critics.items():
        about = {"model": model, "weights": weights_digest(model, None), "steps": options.steps}
        if (told := _began_with(options.out / f"{name}.json", about)) != about:
            print(f"critic {name} began as {told}, now {about}; give it another name or --out")
            return 2
        todo = [s for s in range(options.seeds) if not _result(options.out, name, s).exists()]
        if not todo:
            continue
        with rewards_of(model, options.out / f"{name}-server") as url:
            for seed in todo:
                print(f"critic {name}, seed {seed}", flush=True)
                command = [TRAINER, "-m", "examples.grpo_shapeworld.train", "--url", url]
                command += ["--out", str(_result(options.out, name, seed).parent)]
                command += ["--warm", str(options.out / "warm"), "--seed", str(seed)]
                command += ["--steps", str(options.steps)]
                done = subprocess.run(
                    command, env={**os.environ, "PYTHONPATH": os.getcwd()}, check=False
                )
                if done.returncode:
                    return done.returncode
    results: dict[str, list[Any]] = {
        name: [json.loads(_result(options.out, name, s).read_text()) for s in range(options.seeds)]
        for name in critics
    }
    print(write_report(options.out, results, critics))
    return 0


def _began_with(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """What a critic's results are of; noted where there are none yet."""
    if not path.exists():
        path.write_text(json.dumps(about))
    return json.loads(path.read_text())


def _result(out: Path, critic: str, seed: int) -> Path:
    return out / f"{critic}-{seed}" / "result.json"


@contextmanager
def rewards_of(model: str, folder: Path) -> Iterator[str]:
    """The address of a reward server that runs meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "reward.yaml"
    settings = {"endpoint": {"launch": {"model": model}}, "mode": "expected", "port": 0}
    config.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "foundry.rewards.serve", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            for line in server.stdout or ():
                if found := re.search(r"rewards at (\S+), mode", line):
                    yield found[1]
                    break
            else:
                raise SystemExit("the reward server did not start; its own words are above")
        finally:
            server.terminate()


if __name__ == "__main__":
    sys.exit(main())
