"""Measure a judge: `python -m foundry.evals.run BENCH --endpoint URL --model NAME`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter, validators

from foundry.evals import balancing_tables, bench_tables, quality_tables, run_benches
from foundry.evals.asking import ask
from foundry.evals.balancing import measure_balance, run_balance
from foundry.evals.bench import Item
from foundry.evals.command import Judge, measured, say, write_report
from foundry.evals.markdown import INTERVALS
from foundry.evals.modes import DirectAnswers, failures
from foundry.evals.plot import MAE_LABEL
from foundry.evals.quality import Judged, run_quality
from foundry.evals.quality import measure as measure_gates
from foundry.evals.scores_report import Found, measure_scores
from foundry.evals.shapebench import Answers, direct_rows, make_recipes, run_shapebench
from foundry.evals.shapebench_report import measure
from foundry.evals.shapebench_tables import markdown, panels
from foundry.evals.shuffling import shuffled_markdown, with_others_pictures
from pipelines.connecting import Servers
from pipelines.version import code_version

Rows = Annotated[int, Parameter(validator=validators.Number(gte=16))]
app = App(name="python -m foundry.evals.run", help_flags=["--help", "-h"], version_flags=[])
for bench in run_benches.COMMANDS:
    # As the papers and their files write it, with underscores.
    app.command(bench, name=bench.__name__)


@app.command
def shapebench(
    *,
    judge: Judge,
    rows: Rows = 2000,
    direct: bool = False,
    votes: bool = True,
    shuffled: bool = False,
    out: Path = Path("builds/shapebench"),
) -> int:
    """Compare direct scoring, difference first and plan then score on rows whose truth is known.

    Parameters
    ----------
    judge
        Who is measured, and how it is reached.
    rows
        How many rows, half of them edits; 400 for a quick look.
    direct
        Ask in the student's way alone, and report as for the benchmarks of others.
    votes
        With --direct: ask for eight votes a row besides the greedy reply.
    shuffled
        With --direct: ask once more, greedily, with each row's pictures taken from another row. The
        scores of a judge that looks are then worth nothing.
    out
        Folder for rows, answers and the report; what is there is not asked again. One folder a
        judge: behind a URL, other weights under the same name cannot be noticed.

    """
    if direct:
        return _direct(judge, rows, out, votes=votes, shuffled=shuffled)
    if shuffled or not votes:
        say("--shuffled and --no-votes go with --direct")
        return 2

    def work(servers: Servers, endpoint: dict[str, Any]) -> Answers:
        recipes = make_recipes(out, rows=rows, endpoint=endpoint)
        return run_shapebench(out, recipes, rows=rows, servers=servers, say=say)

    done = measured(work, out, judge)
    if isinstance(done, int):
        return done
    answers, weights = done
    found = measure(answers) | {"bench": "shapebench"} | _about(judge, weights, rows)
    title = (
        "# ShapeBench\n\nHow near a judge comes to scores that are known exactly "
        f"([docs/shapeworld.md](../shapeworld.md)). {INTERVALS}."
    )
    how = ("shapebench", *judge.words(), "--rows", rows, "--out", out)
    report = out / f"shapebench-{rows}.md"
    return write_report(report, title, how, found, markdown(found), (MAE_LABEL, panels(found)))


def _direct(judge: Judge, rows: int, out: Path, *, votes: bool, shuffled: bool) -> int:
    """ShapeBench in the student's way alone."""

    def work(servers: Servers, endpoint: dict[str, Any]) -> Found:
        items: list[Item] = []
        own: DirectAnswers = {}
        others: DirectAnswers = {}
        common: dict[str, Any] = {"endpoint": endpoint, "servers": servers, "say": say}
        for kind, (made, of_kind) in direct_rows(out, rows).items():
            name = f"shapebench-{kind}-{rows}"
            items += of_kind
            own |= ask(name, made, of_kind, out, votes=votes, **common)
            if shuffled:
                made = with_others_pictures(made, of_kind)
                folder = out / "shuffled"
                others |= ask(f"{name}-shuffled", made, of_kind, folder, votes=False, **common)
        found = measure_scores(items, own) | {"failures": failures(own)}
        return found | ({"shuffled": measure_scores(items, others)} if shuffled else {})

    done = measured(work, out, judge)
    if isinstance(done, int):
        return done
    found, weights = done
    found |= {"bench": "shapebench-direct", "published": None} | _about(judge, weights, rows)
    title = (
        "# ShapeBench, scored directly\n\nThe student's way of asking alone, on rows whose scores "
        f"are known exactly. {INTERVALS}."
    )
    words = ["--direct", *["--no-votes"] * (not votes), *["--shuffled"] * shuffled]
    how = ("shapebench", *words, *judge.words(), "--rows", rows, "--out", out)
    report = out / f"shapebench-direct-{rows}.md"
    shown = (MAE_LABEL, bench_tables.panels(found))
    tables = bench_tables.markdown(found)
    tables += "\n" + shuffled_markdown(found) if shuffled else ""
    return write_report(report, title, how, found, tables, shown)


@app.command
def quality(*, judge: Judge, rows: Rows = 2000, out: Path = Path("builds/quality")) -> int:
    """Measure the gates on ShapeWorld rows with planted faults, and balance on a skewed build.

    Parameters
    ----------
    judge
        Who is measured, and how it is reached.
    rows
        How many rows before faults are planted, half of them edits; for balance, half as many.
    out
        Folder for rows, answers and the report; what is there is not asked again. One folder a
        judge.

    """

    def work(servers: Servers, endpoint: dict[str, Any]) -> tuple[list[Judged], Any]:
        gated = run_quality(out, rows=rows, endpoint=endpoint, servers=servers, say=say)
        half = max(20, rows // 2)
        return gated, run_balance(out, rows=half, endpoint=endpoint, servers=servers, say=say)

    done = measured(work, out, judge)
    if isinstance(done, int):
        return done
    (judged, balanced), weights = done
    gates, balance = measure_gates(judged), measure_balance(*balanced)
    title = (
        "# Gates on planted faults, and balance\n\nShapeWorld rows with faults at known rates, "
        "judged by a real model, through the gates as they are by default, but that votes may not "
        "spread as they like ([docs/gates.md](../gates.md)); at the end, a skewed build balanced."
    )
    how = ("quality", *judge.words(), "--rows", rows, "--out", out)
    report = out / f"quality-{rows}.md"
    tables = quality_tables.markdown(gates) + "\n" + balancing_tables.markdown(balance)
    found = gates | {"balance": balance} | _about(judge, weights, rows)
    return write_report(report, title, how, found, tables)


def _about(judge: Judge, weights: dict[str, str], rows: int) -> dict[str, Any]:
    return {"model": judge.model, "weights": weights, "rows": rows, **code_version()}


if __name__ == "__main__":
    sys.exit(app())
