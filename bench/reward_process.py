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
    settings: Mapping[str, Any], folder: Path, *, before: Sequence[str] = ()
) -> Iterator[tuple[str, int]]:
    """A server of these settings on a free port; its URL and the number of its process.

    `before` are words of the command line that come before it.
    """
    config = folder / "reward.json"
    config.write_text(json.dumps({**settings, "port": 0}))
    command = [*before, sys.executable, "-m", "foundry.rewards.serve", "--config", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield listening(server), server.pid
        finally:
            server.terminate()


def listening(server: subprocess.Popen[str]) -> str:
    """The next address that a starting server says it listens at."""
    for line in server.stdout or ():
        if found := re.search(r" at (http://\S+), mode", line):
            return found[1]
    raise SystemExit("the reward server did not start; its own words are above")
