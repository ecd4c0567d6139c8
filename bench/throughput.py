"""The factory's flows against a plain aiohttp load generator that sends the same bodies.

    python bench/throughput.py stub --flow edit --seconds 120 --pairs 3 --json stub-edit.json
    python bench/throughput.py vllm --flow edit --seconds 120 --pairs 3

The flow runs as its users run it, in a process of its own, over rows made here: Prefect, journal
and Parquet included. A first run of it records the bodies that it sends; the plain client replays
them in that order with a fixed number in flight (the best of a few, tried first), waiting for
nothing but that a picture sent by uuid has been sent before. Order alternates: A B, B A, A B.

`stub`: a server that answers at once, on one core; the client has another. Its picture cache is
emptied between runs. The plain client sends its bodies again and again until the time is over.
`vllm`: a real server; its caches are emptied between runs, and both sides send everything once.

Requests a second are counted from the first request to the last reply; the time before (imports,
Prefect, reading and preparing pictures, the probe) and after (dataset, law) is reported apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
from real_vllm import empty_caches, start_vllm
from row_sets import write_rows
from sides import ROOT, SideFailed, Target, run_flow, run_raw

from pipelines.launch import LaunchFailed, Server, stop_server
from pipelines.probe import probe_endpoint

# The stub lives with the tests.
sys.path.insert(0, str(ROOT / "tests"))
from stub_process import stub_process  # pyright: ignore[reportMissingImports]

CONCURRENCIES = (16, 32, 64, 128, 256)
TARGETS = {("stub", "edit"): 0.4, ("vllm", "edit"): 0.95, ("vllm", "gen"): 0.95}
# More rows than the first, shorter run says are needed: a run may be slower, not too short.
SLACK = 1.4


class Bench:
    """One measurement: whom to ask, with how many rows, and what came out."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        cores = sorted(os.sched_getaffinity(0))
        self.stub = options.server == "stub"
        self._vllm: Server | None = None
        self.server_core = cores[0]
        self.client_cores = frozenset(cores[1:] or cores) if self.stub else frozenset(cores)
        self.rows_a_group = options.rows_a_group or (8 if self.stub else 2)
        # One upstream answer, then a score a row and axis.
        self.requests_a_group = 1 + self.rows_a_group * (2 if options.flow == "edit" else 1)

    @contextmanager
    def server(self) -> Iterator[Target]:
        """A server that has seen nothing yet."""
        if self.stub:
            behaviour = {"fixed_reply": True, "log": False, "list_items": 8}
            with stub_process(cpu=self.server_core, **behaviour) as stub:
                yield Target(url=stub.url, model="stub", cores=self.client_cores)
            return
        if self._vllm is None:
            options = self.options
            self._vllm = start_vllm(options.model, self.folder, options.server_args)
        target = Target(url=self._vllm.url, model=self.options.model, cores=self.client_cores)
        # The flow's probe warms a server up: the plain client gets one that has met it too.
        asyncio.run(_probe(target))
        asyncio.run(empty_caches(target.url))
        yield target

    def close(self) -> None:
        """Stop the server."""
        if self._vllm is not None:
            stop_server(self._vllm)

    def rows(self, name: str, requests: float, seed: int) -> Path:
        """Rows that need about so many requests."""
        groups = max(2, round(requests / self.requests_a_group))
        folder = self.folder / f"rows-{name}"
        return write_rows(
            folder, self.options.flow, groups=groups, rows_a_group=self.rows_a_group, seed=seed
        )

    def record(self) -> tuple[Path, Path]:
        """The rows of the measured runs, and bodies to replay: all of them, or a share (stub)."""
        flow, seconds = self.options.flow, self.options.seconds
        trial_rows = self.rows("trial", 6000 if self.stub else 1500, seed=1)
        bodies = self.folder / "bodies.jsonl"
        with self.server() as target:
            trial = run_flow(flow, trial_rows, self.folder / "trial", target, bodies=bodies)
        _say(f"trial run: {_line(trial)}")
        rows = self.rows("measured", trial["requests_per_s"] * seconds * SLACK, seed=2)
        if self.stub:
            # Every group of requests is like every other, so a share of them is enough.
            return rows, bodies
        with self.server() as target:
            full = run_flow(flow, rows, self.folder / "record", target, bodies=bodies)
        _say(f"recording run: {_line(full)}")
        return rows, bodies

    def best_concurrency(self, bodies: Path) -> int:
        """The number in flight at which the plain client is fastest, from short runs."""
        if self.options.concurrency:
            return self.options.concurrency
        n = len(bodies.read_bytes().splitlines())
        rates = {}
        with self.server() as target:
            for i, concurrency in enumerate(CONCURRENCIES):
                # Parts of their own: none finds what another left in the server's caches.
                part = (0, n) if self.stub else (i * n // 5, (i + 1) * n // 5)
                found = run_raw(
                    bodies,
                    self.folder / "sweep",
                    target,
                    concurrency=concurrency,
                    until_s=min(5.0, self.options.seconds) if self.stub else None,
                    part=part,
                )
                rates[concurrency] = found["requests_per_s"]
        _say("plain client: " + ", ".join(f"{r:.0f}/s at {c}" for c, r in rates.items()))
        return max(rates, key=lambda c: rates[c])

    def one(self, side: str, name: str, rows: Path, bodies: Path, at: int) -> dict[str, Any]:
        """One run of one side on a fresh server."""
        folder = self.folder / name
        with self.server() as target:
            if side == "flow":
                result = run_flow(self.options.flow, rows, folder, target)
                shutil.rmtree(folder / "build")
            else:
                until_s = self.options.seconds if self.stub else None
                result = run_raw(bodies, folder, target, concurrency=at, until_s=until_s)
        result["load_average"] = os.getloadavg()[0]
        _say(f"{name}: {_line(result)}")
        if result["seconds"] < self.options.seconds:
            _say(f"  shorter than the {self.options.seconds:g} s asked for")
        return result

    def run(self) -> dict[str, Any]:
        """All pairs, and what they come to."""
        rows, bodies = self.record()
        concurrency = self.best_concurrency(bodies)
        pairs = []
        for i in range(self.options.pairs):
            order = ("flow", "raw") if i % 2 == 0 else ("raw", "flow")
            pair: dict[str, Any] = {"order": " ".join(order)}
            for side in order:
                pair[side] = self.one(side, f"pair{i + 1}-{side}", rows, bodies, concurrency)
            pair["ratio"] = pair["flow"]["requests_per_s"] / pair["raw"]["requests_per_s"]
            _say(f"pair {i + 1}: ratio {pair['ratio']:.3f}")
            pairs.append(pair)
        ratios = [pair["ratio"] for pair in pairs]
        return {
            "server": self.options.server,
            "flow": self.options.flow,
            "model": "stub" if self.stub else self.options.model,
            "rows_a_group": self.rows_a_group,
            "raw_concurrency": concurrency,
            "median_ratio": median(ratios),
            "range": [min(ratios), max(ratios)],
            "target": TARGETS.get((self.options.server, self.options.flow)),
            "pairs": pairs,
            "machine": _machine(),
        }


async def _probe(target: Target) -> None:
    async with aiohttp.ClientSession() as session:
        await probe_endpoint(
            session,
            url=target.url,
            model=target.model,
            headers={},
            extra_body={},
            needs_pictures=True,
            timeout_s=120,
        )


def _line(result: dict[str, Any]) -> str:
    text = f"{result['requests']} requests in {result['seconds']:.1f} s"
    text += f", {result['requests_per_s']:.1f}/s, {result['cpu_s']:.0f} s of CPU"
    if "start_to_first_request_s" in result:
        text += f"; before the first request {result['start_to_first_request_s']:.1f} s"
        text += f", after the last reply {result['last_reply_to_end_s']:.1f} s"
        text += f" ({result['rows']} rows, {result['rejected']} answers rejected)"
    if result.get("failed"):
        text += f"; FAILED by status: {result['failed']}"
    return text


def _machine() -> dict[str, Any]:
    packages = ("firm-foundry", "aiohttp", "prefect", "pyarrow", "tenacity", "jsonschema")
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("server", choices=("stub", "vllm"))
    parser.add_argument("--flow", choices=("edit", "gen"), default="edit")
    replies = ("two-field", "eight-verdicts")
    parser.add_argument("--reply", choices=replies, help="edit is two-field, gen eight-verdicts")
    parser.add_argument("--seconds", type=float, default=120.0, help="of requests, a run")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--model", default="foundry/shapeworld/judge", help="what vLLM serves")
    parser.add_argument("--server-args", nargs="*", default=[], help="more arguments for vLLM")
    parser.add_argument("--rows-a-group", type=int, help="edits a pair or pictures a prompt")
    parser.add_argument("--concurrency", type=int, help="of the plain client; empty: the best")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it")
    options = parser.parse_args()
    if options.reply and options.reply != replies[options.flow == "gen"]:
        parser.error(f"--flow {options.flow} has {replies[options.flow == 'gen']} replies")
    return options


def main() -> int:
    """Measure, print, write. Returns 1 when a run failed, whatever the ratio is."""
    options = _options()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="firm-bench-"))
    try:
        with closing(Bench(options, folder.absolute())) as bench:
            result = bench.run()
    except (SideFailed, LaunchFailed) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    low, high = result["range"]
    machine = ", ".join(f"{k} {v}" for k, v in result["machine"].items())
    _say(f"{options.server} {options.flow}: median ratio {result['median_ratio']:.3f}")
    _say(f"range {low:.3f} to {high:.3f}, target {result['target'] or 'none, reported'}")
    _say(machine)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
