"""One run of one side, each in a process of its own: the real flow, or the plain load generator."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
_TABLES = {"edit": ("differences", "edit_scores"), "gen": ("checklists", "gen_scores")}


class SideFailed(Exception):
    """A run that did not end well; the message names its log."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Whom both sides ask: a server's URL (ending in `/v1`) and model, and the client's cores."""

    url: str
    model: str
    cores: frozenset[int]
    max_in_flight: int = 256


def write_recipe(path: Path, kind: str, rows: Path, output: Path, target: Target) -> None:
    """Write the recipe of a measured run: defaults throughout. JSON is YAML."""
    judge = {"url": target.url, "model": target.model, "max_in_flight": target.max_in_flight}
    roles = ("judge",) if kind == "edit" else ("planner", "judge")
    recipe = {
        "output": str(output),
        "sources": {"kind": "jsonl", "path": str(rows)},
        "endpoints": dict.fromkeys(roles, judge),
        # A model whose scores mean nothing may also break more replies than a good one.
        "reject_share": 1.0,
        "control_share": 0.0,
    }
    path.write_text(json.dumps(recipe, indent=1))


def run_flow(
    kind: str, rows: Path, folder: Path, target: Target, *, bodies: Path | None = None
) -> dict[str, Any]:
    """Run the flow's own command over the rows, and read from its tables how fast it was.

    With `bodies` every request body is also written there; such a run is not a measurement.
    """
    folder.mkdir(parents=True)
    recipe, build = folder / "recipe.json", folder / "build"
    write_recipe(recipe, kind, rows, build, target)
    command = [sys.executable, "-m", f"flows.build_firm_{kind}", str(recipe)]
    if bodies is not None:
        command = [sys.executable, str(Path(__file__).with_name("record_flow.py"))]
        command += [str(bodies), kind, str(recipe)]
    started = time.time()
    cpu_s, _ = _run(command, folder / "flow.log", target.cores)
    return read_run(kind, build, started, time.time()) | {"cpu_s": cpu_s}


def read_run(kind: str, build: Path, started: float, ended: float) -> dict[str, Any]:
    """What a finished build says of its request phase; times of start and end are the process's."""
    manifest = json.loads((build / "manifest.json").read_text())
    asked, answered, rejected, bad = [], [], 0, 0
    for table in _TABLES[kind]:
        columns = ["answered_at", "took_s", "status", "faults"]
        for path in sorted((build / table).glob("*.parquet")):
            for row in pq.read_table(path, columns=columns).to_pylist():
                answered.append(row["answered_at"])
                asked.append(row["answered_at"] - (row["took_s"] or 0.0))
                rejected += row["status"] != "ok"
                bad += len(row["faults"])
    first, last = min(asked), max(answered)
    requests = sum(manifest["requests"].values())
    return {
        "requests": requests,
        "answers": len(answered),
        "rejected": rejected,
        "bad_replies": bad,
        "seconds": last - first,
        "requests_per_s": requests / (last - first),
        "start_to_first_request_s": first - started,
        "last_reply_to_end_s": ended - last,
        "rows": manifest["funnel"]["rows"]["total"],
    }


def run_raw(
    bodies: Path,
    folder: Path,
    target: Target,
    *,
    concurrency: int,
    until_s: float | None = None,
    part: tuple[int, int | None] = (0, None),
) -> dict[str, Any]:
    """Send recorded bodies with the plain client: all of them once, or again and again."""
    folder.mkdir(parents=True, exist_ok=True)
    job = {
        "bodies": str(bodies),
        "url": target.url,
        "concurrency": concurrency,
        "until_s": until_s,
        "start": part[0],
        "stop": part[1],
    }
    command = [sys.executable, str(Path(__file__).with_name("raw_client.py")), json.dumps(job)]
    cpu_s, printed = _run(command, folder / f"raw-{concurrency}.log", target.cores)
    return json.loads(printed.splitlines()[-1]) | {"cpu_s": cpu_s}


def _run(command: list[str], log: Path, cores: frozenset[int]) -> tuple[float, str]:
    """CPU seconds of a command with all its children, and what it printed."""
    # A Prefect server of the run's own, with one database for all runs of a measurement.
    env = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    env |= {
        "PREFECT_HOME": str(log.parent.parent / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PYTHONPATH": str(ROOT),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(log, "w") as errors:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        end = "\n".join(log.read_text().splitlines()[-15:])
        raise SideFailed(f"exit status {done.returncode}; {log} ends\n{end}")
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime), done.stdout
