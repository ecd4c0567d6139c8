"""Measure a judge: `python -m foundry.evals.run shapebench --endpoint URL --model NAME`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter, validators
from pydantic import ValidationError

from foundry.evals.shapebench import make_recipes, run_shapebench
from foundry.evals.shapebench_report import measure
from foundry.evals.shapebench_tables import markdown
from pipelines.build import BuildRefused
from pipelines.chat import EndpointDown
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


@app.command
def shapebench(
    *,
    endpoint: str | None = None,
    launch: bool = False,
    model: str,
    rows: Annotated[int, Parameter(validator=validators.Number(gte=16))] = 2000,
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
    if launch == (endpoint is not None):
        say("give --endpoint URL for a server that runs, or --launch to start one")
        return 2
    reached: dict[str, Any] = {"launch": {"model": model}} if launch else {"url": endpoint}
    servers = Servers()
    started = time.monotonic()
    try:
        recipes = make_recipes(out, rows=rows, endpoint={"model": model, **reached})
        weights = _keep_judge(out, model, launch=launch)
        answers = run_shapebench(out, recipes, rows=rows, servers=servers, say=say)
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
    found = measure(answers) | {
        "model": model,
        "weights": weights,
        "rows": rows,
        **code_version(),
    }
    report = out / f"shapebench-{rows}.md"
    reach = "--launch" if launch else "--endpoint URL"
    how = f"shapebench {reach} --model {model} --rows {rows} --out {out}"
    head = (
        "# ShapeBench\n\nHow near a judge comes to scores that are known exactly "
        "([docs/shapeworld.md](../shapeworld.md)). In brackets: 95% bootstrap intervals.\n\n"
        f"`python -m foundry.evals.run {how}`, {time.strftime('%Y-%m-%d')}, "
        f"firm-foundry {found['package_version']}"
        + "".join(f", {name} sha256 {digest[:16]}" for name, digest in weights.items())
        + ".\n\n"
    )
    text = head + markdown(found)
    try:
        numbers = json.dumps(found, indent=1, allow_nan=False) + "\n"
        write_bytes(report.with_suffix(".json"), numbers.encode())
        write_bytes(report, text.encode())
    except OSError as error:
        say(f"the report cannot be written: {error}")
        return 1
    print(text)  # noqa: T201 - a command's own output
    say(f"{report} and the numbers as .json ({time.monotonic() - started:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(app())
