"""What the commands that measure a judge share: whom they ask, and the reports they write."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cyclopts import Parameter
from pydantic import ValidationError

from foundry.evals.bench_files import BenchRefused
from foundry.evals.plot import Mark, draw_measures
from pipelines.build import BuildRefused
from pipelines.chat import EndpointDown
from pipelines.connecting import Servers
from pipelines.endpoint_settings import Endpoint
from pipelines.launch import LaunchFailed
from pipelines.probe import EndpointUnfit
from pipelines.runtime import Interrupted, TooManyRejects
from pipelines.shards import ShardDamaged, file_sha256, write_bytes, write_json
from pipelines.sources import SourceError
from pipelines.tables import has_answers
from pipelines.version import code_version

KNOWN_ERRORS = (
    BuildRefused,
    EndpointDown,
    EndpointUnfit,
    Interrupted,
    LaunchFailed,
    OSError,
    ShardDamaged,
    SourceError,
    TooManyRejects,
)
T = TypeVar("T")


class JudgeRefused(Exception):
    """A judge that cannot be asked, or not with this folder."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Judge:
    """Who is measured, and how it is reached.

    Parameters
    ----------
    model
        The model's name at the server; a folder or a name that vLLM serves, with --launch.
    endpoint
        A server that runs, as URL ending in /v1.
    launch
        Start a vLLM server for the model instead, and stop it afterwards.

    """

    model: str
    endpoint: str | None = None
    launch: bool = False

    def reached(self) -> dict[str, Any]:
        """The endpoint of a recipe. Raises JudgeRefused for neither or both ways to one."""
        if self.launch == (self.endpoint is not None):
            raise JudgeRefused(
                "give --endpoint URL of a server that runs, or --launch to start one"
            )
        how = {"launch": {"model": self.model}} if self.launch else {"url": self.endpoint}
        found = {"model": self.model, **how}
        try:
            Endpoint.model_validate(found)
        except ValidationError as error:
            raise JudgeRefused(f"the endpoint is refused: {error.errors()[0]['msg']}") from None
        return found

    def words(self) -> tuple[str, ...]:
        """As it is given on the command line, without an address."""
        how = ("--launch",) if self.launch else ("--endpoint", "URL")
        return (*how, "--model", self.model)


def say(text: str) -> None:
    """Print for the person who waits."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a command's own output


def measured(
    work: Callable[[Servers, dict[str, Any]], T], out: Path, judge: Judge
) -> tuple[T, dict[str, str]] | int:
    """What some work found, and the digests of the judge's weights; the exit status if it failed.

    `work` gets the endpoint of a recipe. Servers that it starts are stopped, and what a person can
    mend is told.
    """
    servers = Servers()
    try:
        endpoint = judge.reached()
        weights = _keep_judge(out, judge)
        return work(servers, endpoint), weights
    except (JudgeRefused, BenchRefused) as error:
        say(str(error))
        return 2
    except KNOWN_ERRORS as error:
        say(f"{type(error).__name__}: {error}\nWhat is answered is kept; run again to go on.")
        return 1
    finally:
        servers.close()


def _keep_judge(out: Path, judge: Judge) -> dict[str, str]:
    """Note whose answers a folder holds. Returns the digests of the weights that are launched.

    A folder without an answer is nobody's: a mistyped name would else keep the right one out.
    Raises JudgeRefused when there are another judge's, by its name or its weights.
    """
    weights = sorted(Path(judge.model).glob("*.safetensors")) if judge.launch else []
    this = {"model": judge.model, "weights": {w.name: file_sha256(w) for w in weights}}
    path = out / "judge.json"
    if path.exists() and any(has_answers(build) for build in out.iterdir()):
        try:
            kept = json.loads(path.read_text("utf-8"))
        except ValueError:
            raise JudgeRefused(f"{path} cannot be read; take another --out") from None
        if kept != this:
            raise JudgeRefused(f"{out}: holds the answers of another judge; take another --out")
    else:
        write_json(path, this)
    return this["weights"]


def write_report(
    report: Path,
    title: str,
    how: Sequence[object],
    found: dict[str, Any],
    tables: str,
    panels: tuple[str, Sequence[tuple[str, Sequence[Mark]]]] | None = None,
) -> int:
    """Write a report as Markdown, its numbers as JSON and its plot as PNG, and print it.

    `how` are the words after `foundry.evals.run` that it was made with. `found` has the `weights`'
    digests. `panels` are what the plot measures, and of what. Returns the exit status.
    """
    version = code_version()["package_version"]
    weights = "".join(f", {n} sha256 {d[:16]}" for n, d in found["weights"].items())
    text = (
        f"{title}\n\n`python -m foundry.evals.run {shlex.join(map(str, how))}`, "
        f"{time.strftime('%Y-%m-%d')}, "
        f"firm-foundry {version}{weights}.\n\n{tables}"
    )
    try:
        numbers = json.dumps(found, indent=1, allow_nan=False) + "\n"
        write_bytes(report.with_suffix(".json"), numbers.encode())
        if panels is not None:
            label, shown = panels
            write_bytes(report.with_suffix(".png"), draw_measures(shown, label))
        write_bytes(report, text.encode())
    except OSError as error:
        say(f"the report cannot be written: {error}")
        return 1
    print(text)  # noqa: T201 - a command's own output
    say(f"{report}, and beside it the numbers as .json" + (", a plot as .png" if panels else ""))
    return 0
