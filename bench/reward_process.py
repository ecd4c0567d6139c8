"""A reward server in a process of its own, as it is started by those who use it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def reward_process(
    settings: Mapping[str, Any],
    folder: Path,
    *,
    before: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """A server of these settings on a free port, which `listening` tells; it ends with the context.

    `before` are words of the command line that come before it, `env` its environment, else ours.
    """
    config = folder / "reward.json"
    config.write_text(json.dumps({**settings, "port": 0}))
    command = [*before, sys.executable, "-m", "foundry.rewards.serve", "--config", str(config)]
    out = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, text=True) as server:
        try:
            yield server
        finally:
            server.terminate()


def listening(server: subprocess.Popen[str], addresses: int = 1) -> dict[str, str]:
    """So many URLs that a starting server says it listens at, by what it says is there."""
    found: dict[str, str] = {}
    for line in server.stdout or ():
        if told := re.search(r"(\S.*) at (http://\S+), mode", line):
            found[told[1]] = told[2]
            if len(found) == addresses:
                return found
    raise SystemExit("the reward server did not start; its own words are above")
