"""The one line of work behind both builds: rows, shards, dataset, law, manifest."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from prefect import task
from prefect.futures import PrefectFuture

from flows.artifacts import report_build
from flows.work import (
    BuildFailed,
    ShardWork,
    call_task,
    known_errors_fail_quietly,
    run_in_slot,
    running,
    runtime_of,
    shard_run,
    wait_for_shards,
)
from pipelines.build import PICTURES
from pipelines.chains import expected_answers, run_chain
from pipelines.controls import rows_and_controls
from pipelines.dataset import write_dataset
from pipelines.funnel import count_funnel
from pipelines.gates.contamination import Benchmarks, read_benchmarks
from pipelines.ingest import ingest
from pipelines.law import check_law
from pipelines.progress import Counters
from pipelines.recipe import EditRecipe, GenRecipe
from pipelines.rows import kind_of
from pipelines.runtime import Runtime, TooManyRejects, check_keys
from pipelines.shard_run import ShardRun
from pipelines.shards import write_json
from pipelines.sources import check_sources, count_rows
from pipelines.stages import Stage, edit_stages, gen_stages, stage_digests
from pipelines.version import code_version

AnyRecipe = GenRecipe | EditRecipe
_BENCHMARKS: dict[str, Benchmarks] = {}


def stages_of(recipe: AnyRecipe) -> dict[str, Stage]:
    """The stages of a recipe, by name, in order."""
    return gen_stages(recipe) if isinstance(recipe, GenRecipe) else edit_stages(recipe)


@task(name="ingest", persist_result=False)
@known_errors_fail_quietly
def ingest_sources(
    recipe: AnyRecipe, build: str, n_buckets: int, n_rows: int | None
) -> dict[str, Any]:
    """Write `rows/` and `pictures/`. Returns counts by status and reason."""
    runtime = runtime_of(build)
    runtime.counters.expect("rows", None)

    def on_progress(done: int, total: int | None) -> None:
        runtime.counters.expect("rows", total)
        runtime.counters.set_done("rows", done)

    summary = ingest(
        recipe,
        Path(build),
        n_buckets=n_buckets,
        validation_share=recipe.validation_share,
        on_progress=on_progress,
        total=n_rows,
    )
    return asdict(summary)


@task(name="shard", task_run_name="shard-{bucket:05d}", persist_result=False)
@known_errors_fail_quietly
def run_shard(recipe: AnyRecipe, build: str, bucket: int) -> dict[str, int]:
    """One bucket through all stages. Returns the number of new rows a table."""

    def work(runtime: Runtime) -> tuple[ShardRun, ShardWork]:
        kind = kind_of(recipe)
        rows, controls = rows_and_controls(runtime.build, kind, bucket, recipe.control_share)
        at_once = sum(e.max_in_flight for e in recipe.endpoints.judge)
        run = shard_run(runtime, bucket, stages_of(recipe))
        return run, partial(run_chain, kind, [*rows, *controls], run, at_once=at_once)

    return run_in_slot(build, bucket, work)


@task(name="dataset", persist_result=False)
@known_errors_fail_quietly
def finish_build(recipe: AnyRecipe, build: str, n_buckets: int) -> dict[str, Any]:
    """Write `dataset/` and `rejects/`, check the build law, write the manifest. Returns it."""
    runtime, path, stages = runtime_of(build), Path(build), stages_of(recipe)
    written = write_dataset(
        path, recipe, stages, benchmarks=_BENCHMARKS[build], n_buckets=n_buckets
    )
    law = check_law(path)
    manifest = {
        "kind": kind_of(recipe),
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **code_version(),
        "recipe": recipe.model_dump(mode="json"),
        "buckets": n_buckets,
        "stages": stage_digests(stages),
        "endpoints": runtime.probes,
        "requests": runtime.requests,
        "funnel": count_funnel(path, written.answers),
        "scores": written.scores,
        "balance": written.balance or None,
        "controls": written.controls,
        "sets_not_wholly_compared": written.capped,
        "law": asdict(law),
        "splits": written.splits,
        "files": written.files,
    }
    write_json(path / "manifest.json", manifest)
    return manifest


def run_build(
    recipe: AnyRecipe, *, say: Callable[[str], None], submit: Callable[..., PrefectFuture[Any]]
) -> dict[str, Any]:
    """Make or go on with a build. Returns its manifest.

    Raises SourceError and BuildRefused before anything is asked; BuildFailed when a shard could not
    be finished or too many rows were rejected, with all finished work kept.
    """
    check_sources(recipe)
    check_keys(recipe)
    benchmarks = read_benchmarks(recipe.gates.benchmarks)
    path = Path(recipe.output)
    build = str(path)
    counts = [count_rows(source) for source in recipe.sources]
    if recipe.buckets is None and None in counts:
        unknown = recipe.sources[counts.index(None)].path
        raise BuildFailed(f"{unknown}: its size is not known beforehand; set 'limit' or 'buckets'")
    n_rows = None if None in counts else sum(n or 0 for n in counts)
    kind = kind_of(recipe)
    pictures = len(PICTURES[kind])
    with ExitStack() as stack:
        runtime, n_buckets = stack.enter_context(
            running(recipe, kind, rows=n_rows or 0, pictures=pictures, say=say)
        )
        _BENCHMARKS[build] = benchmarks
        stack.callback(_BENCHMARKS.pop, build)
        counts_of_rows = call_task(ingest_sources, recipe, build, n_buckets, n_rows)["by_status"]
        _check_sources_share(recipe, counts_of_rows)
        _expect_answers(recipe, path, n_buckets, runtime.counters)
        futures = [submit(run_shard, recipe, build, bucket) for bucket in range(n_buckets)]
        wait_for_shards(futures, runtime)
        manifest = call_task(finish_build, recipe, build, n_buckets)
        report_build(path)
    _check_reject_share(recipe, manifest)
    return manifest


def _expect_answers(recipe: AnyRecipe, build: Path, n_buckets: int, counters: Counters) -> None:
    """Tell the progress bars how many answers each stage needs at most."""
    expected = {stage.table: 0 for stage in stages_of(recipe).values()}
    for bucket in range(n_buckets):
        kind = kind_of(recipe)
        rows, controls = rows_and_controls(build, kind, bucket, recipe.control_share)
        found = expected_answers(kind, [*rows, *controls])
        for table, answers in found.items():
            expected[table] += answers
    for table, answers in expected.items():
        counters.expect(table, answers)


def _check_sources_share(recipe: AnyRecipe, by_status: dict[str, int]) -> None:
    """A disk that is not mounted must not replace a good dataset by an empty one."""
    rejected, ok = by_status.get("rejected", 0), by_status.get("ok", 0)
    if rejected > recipe.reject_share * (rejected + ok):
        raise TooManyRejects(
            f"{recipe.output}: {rejected} of {rejected + ok} source rows rejected, more than "
            f"reject_share: {recipe.reject_share:g}; the reasons stand in rows/. "
            "Nothing was asked, and dataset/ is as it was."
        )


def _check_reject_share(recipe: AnyRecipe, manifest: dict[str, Any]) -> None:
    law = manifest["law"]
    unique = law["source"] - law["duplicates"]
    reasons = manifest["funnel"]["rejects"]
    # What gates and balance leave out was answered well enough: no server's trouble.
    rejected = sum(n for r, n in reasons.items() if not r.startswith(("gate:", "balance:")))
    if unique and rejected > recipe.reject_share * unique:
        raise TooManyRejects(
            f"{recipe.output}: {rejected} of {unique} rows rejected, more than "
            f"reject_share: {recipe.reject_share:g}; reasons: {reasons}. "
            "The dataset was written; see rejects/."
        )
