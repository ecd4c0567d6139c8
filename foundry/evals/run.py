"""Measure a judge: `python -m foundry.evals.run shapebench --endpoint URL --model NAME`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import App, Parameter, validators
from pydantic import ValidationError

from foundry.evals import balancing_tables, quality_tables
from foundry.evals.balancing import measure_balance, run_balance
from foundry.evals.quality import Judged, run_quality
from foundry.evals.quality import measure as measure_gates
from foundry.evals.shapebench import Answers, make_recipes, run_shapebench
from foundry.evals.shapebench_report import measure
from foundry.evals.shapebench_tables import markdown
from pipelines.build import BuildRefused
from pipelines.chat import EndpointDown
from pipelines.endpoint_settings import Endpoint
from pipelines.launch import LaunchFailed
from pipelines.probe import EndpointUnfit
from pipelines.runtime import Interrupted, Servers, TooManyRejects
from pipelines.shards import ShardDamaged, file_sha256, write_bytes, write_json
from pipelines.sources import SourceError
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
Rows = Annotated[int, Parameter(validator=validators.Number(gte=16))]
app = App(name="python -m foundry.evals.run", help_flags=["--help", "-h"], version_flags=[])


class OtherJudge(Exception):
    """A folder that holds the answers of another judge."""


def _keep_judge(out: Path, model: str, *, launch: bool) -> dict[str, str]:
    """Note whose answers a folder holds. Returns the digests of the weights that are launched.

    Raises OtherJudge when they are another judge's, by its name or its weights.
    """
    weights = sorted(Path(model).glob("*.safetensors")) if launch else []
    judge = {"model": model, "weights": {w.name: file_sha256(w) for w in weights}}
    path = out / "judge.json"
    if path.exists():
        try:
            kept = json.loads(path.read_text("utf-8"))
        except ValueError:
            raise OtherJudge(f"{path} cannot be read; take another --out") from None
        if kept != judge:
            raise OtherJudge(f"{out}: holds the answers of another judge; take another --out")
    else:
        write_json(path, judge)
    return judge["weights"]


def say(text: str) -> None:
    """Print for the person who waits."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a command's own output


def _measured(
    work: Callable[[Servers], T], out: Path, endpoint: dict[str, Any], *, launch: bool
) -> tuple[T, dict[str, str]] | int:
    """What some work found, and the digests of the judge's weights; the exit status if it failed.

    Servers that it starts are stopped, and what a person can mend is told.
    """
    servers = Servers()
    try:
        Endpoint.model_validate(endpoint)
        weights = _keep_judge(out, endpoint["model"], launch=launch)
        return work(servers), weights
    except OtherJudge as error:
        say(str(error))
        return 2
    except ValidationError as error:
        say(f"the endpoint is refused: {error.errors()[0]['msg']}")
        return 2
    except KNOWN_ERRORS as error:
        say(f"{type(error).__name__}: {error}\nWhat is answered is kept; run again to go on.")
        return 1
    finally:
        servers.close()


def _write_report(
    report: Path, title: str, how: str, weights: dict[str, str], found: Any, tables: str
) -> int:
    """Write a report as Markdown and its numbers as JSON, and print it. Returns the exit status."""
    version = code_version()["package_version"]
    text = (
        f"{title}\n\n`python -m foundry.evals.run {how}`, {time.strftime('%Y-%m-%d')}, "
        f"firm-foundry {version}"
        + "".join(f", {name} sha256 {digest[:16]}" for name, digest in weights.items())
        + f".\n\n{tables}"
    )
    try:
        numbers = json.dumps(found, indent=1, allow_nan=False) + "\n"
        write_bytes(report.with_suffix(".json"), numbers.encode())
        write_bytes(report, text.encode())
    except OSError as error:
        say(f"the report cannot be written: {error}")
        return 1
    print(text)  # noqa: T201 - a command's own output
    say(f"{report} and the numbers as .json")
    return 0


@app.command
def shapebench(
    *,
    endpoint: str | None = None,
    launch: bool = False,
    model: str,
    rows: Rows = 2000,
    out: Path = Path("builds/shapebench"),
) -> int:
    """Compare direct scoring, difference first and plan then score on rows whose truth is known.

    Parameters
    ----------
    endpoint
        A server that runs, as URL ending in /v1.
    launch
        Start a vLLM server for the model instead, and stop it afterwards.
    model
        The model's name at the server; a folder or a name that vLLM serves, with --launch.
    rows
        How many rows, half of them edits; 400 for a quick look.
    out
        Folder for rows, answers and the report; what is there is not asked again. One folder a
        judge: behind a URL, other weights under the same name cannot be noticed.

    """
    reached = _reached(endpoint, model, launch=launch)
    if reached is None:
        return 2

    def work(servers: Servers) -> Answers:
        recipes = make_recipes(out, rows=rows, endpoint=reached)
        return run_shapebench(out, recipes, rows=rows, servers=servers, say=say)

    done = _measured(work, out, reached, launch=launch)
    if isinstance(done, int):
        return done
    answers, weights = done
    found = measure(answers) | {
        "model": model,
        "weights": weights,
        "rows": rows,
        **code_version(),
    }
    title = (
        "# ShapeBench\n\nHow near a judge comes to scores that are known exactly "
        "([docs/shapeworld.md](../shapeworld.md)). In brackets: 95% bootstrap intervals."
    )
    how = _command("shapebench", model, rows, out, launch=launch)
    report = out / f"shapebench-{rows}.md"
    return _write_report(report, title, how, weights, found, markdown(found))


@app.command
def quality(
    *,
    endpoint: str | None = None,
    launch: bool = False,
    model: str,
    rows: Rows = 2000,
    out: Path = Path("builds/quality"),
) -> int:
    """Measure the gates on ShapeWorld rows with planted faults, and balance on a skewed build.

    Parameters
    ----------
    endpoint
        A server that runs, as URL ending in /v1.
    launch
        Start a vLLM server for the model instead, and stop it afterwards.
    model
        The model's name at the server; a folder or a name that vLLM serves, with --launch.
    rows
        How many rows before faults are planted, half of them edits; for balance, half as many.
    out
        Folder for rows, answers and the report; what is there is not asked again. One folder a
        judge.

    """
    reached = _reached(endpoint, model, launch=launch)
    if reached is None:
        return 2

    def work(servers: Servers) -> tuple[list[Judged], Any]:
        gated = run_quality(out, rows=rows, endpoint=reached, servers=servers, say=say)
        return gated, run_balance(out, rows=rows // 2, endpoint=reached, servers=servers, say=say)

    done = _measured(work, out, reached, launch=launch)
    if isinstance(done, int):
        return done
    (judged, balanced), weights = done
    gates, balance = measure_gates(judged), measure_balance(*balanced)
    title = (
        "# Gates on planted faults, and balance\n\nShapeWorld rows with faults at known rates, "
        "judged by a real model, through the gates as they are by default "
        "([docs/gates.md](../gates.md)); at the end, a skewed build balanced."
    )
    how = _command("quality", model, rows, out, launch=launch)
    report = out / f"quality-{rows}.md"
    tables = quality_tables.markdown(gates) + "\n" + balancing_tables.markdown(balance)
    return _write_report(report, title, how, weights, gates | {"balance": balance}, tables)


def _reached(endpoint: str | None, model: str, *, launch: bool) -> dict[str, Any] | None:
    """The endpoint of a recipe; None, and a person is told, for neither or both ways to one."""
    if launch == (endpoint is not None):
        say("give --endpoint URL for a server that runs, or --launch to start one")
        return None
    return {"model": model, **({"launch": {"model": model}} if launch else {"url": endpoint})}


def _command(name: str, model: str, rows: int, out: Path, *, launch: bool) -> str:
    reach = "--launch" if launch else "--endpoint URL"
    return f"{name} {reach} --model {model} --rows {rows} --out {out}"


if __name__ == "__main__":
    sys.exit(app())
