"""Train the bundled judge from scratch: a Qwen3-VL of under three million parameters.

    python -m foundry.shapeworld.train_judge OUT

Writes `OUT/judge`, which vLLM serves, and `OUT/base`, the same network before it saw any score.
Run it again to go on after a break. Needs torch, torchvision and transformers, which the server's
environment has; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from foundry.shapeworld.judge_plan import POOL_BATCHES, Plan
from foundry.shapeworld.judge_run import AnotherRun
from foundry.shapeworld.judge_training import train


def say(text: str) -> None:
    """Print for the person who waits."""
    print(text, flush=True)  # noqa: T201 - a command's own output


def _times(text: str) -> float:
    """A finite number above 0. Raises ValueError."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(text)
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: the folder and options. Returns 0, or 2 for what a person can mend."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the run")
    plan = Plan()
    parser.add_argument("--seed", type=int, default=plan.seed, help="other seeds, other weights")
    parser.add_argument(
        "--longer",
        type=_times,
        default=1.0,
        metavar="TIMES",
        help="that many times the steps (default 1.0)",
    )
    given = parser.parse_args(argv)
    look, base, judge = (
        max(1, round(steps * given.longer / POOL_BATCHES)) * POOL_BATCHES
        for steps in (plan.look_steps, plan.base_steps, plan.judge_steps)
    )
    command = "python -m foundry.shapeworld.train_judge OUT"
    command += f" --seed {given.seed}" if given.seed != plan.seed else ""
    command += f" --longer {given.longer:g}" if given.longer != 1 else ""
    try:
        chosen = Plan(seed=given.seed, look_steps=look, base_steps=base, judge_steps=judge)
    except ValueError as error:
        parser.error(str(error))
    if find_spec("torch") is None:
        print(  # noqa: T201 - a command's own output
            "torch is not installed here: run it with .venv-vllm/bin/python", file=sys.stderr
        )
        return 2
    try:
        train(given.out, chosen, say, command=command)
    except (AnotherRun, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's own output
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
