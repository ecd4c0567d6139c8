"""The one line of work behind the building flows: rows, shards, dataset, law, manifest."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from functools import partial, wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from prefect import State, Task, get_run_logger, task
from prefect.futures import PrefectFuture
from prefect.states import Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.artifacts import report_build, shown_in_prefect
from flows.command_line import RecipeRefused, check_recipe
from pipelines.build import BuildRefused, Kind, fixed_buckets, locked_build
from pipelines.chains import expected_answers, run_chain
from pipelines.chat import EndpointDown, RequestStuck
from pipelines.controls import rows_and_controls
from pipelines.dataset import stage_digests, write_dataset
from pipelines.dataset_reading import DatasetUnreadable
from pipelines.dataset_rows import PICTURES
from pipelines.export.conversations import ExportRefused
from pipelines.funnel import count_funnel
from pipelines.gates.contamination import Benchmarks, read_benchmarks
from pipelines.ingest import ingest
from pipelines.launch import LaunchFailed
from pipelines.law import LawBroken, check_law
from pipelines.probe import EndpointUnfit
from pipelines.progress import Counters, shown
from pipelines.recipe import EditRecipe, GenRecipe, RunSettings
from pipelines.rows import kind_of
from pipelines.runtime import Interrupted, Runtime, Servers, TooManyRejects, check_keys
from pipelines.shard_run import ShardRun, run_and_finish
from pipelines.shards import ShardDamaged, write_json
from pipelines.sources import SourceError, check_sources, count_rows
from pipelines.stages import Stage, edit_stages, gen_stages
from pipelines.version import code_version

AnyRecipe = GenRecipe | EditRecipe
ShardWork = Callable[[], Awaitable[Any]]
P = ParamSpec("P")
R = TypeVar("R")

# Set by a caller that runs several builds on one set of launched servers.
SHARED_SERVERS: ContextVar[Servers | None] = ContextVar("SHARED_SERVERS", default=None)
# Prefect tasks get plain arguments; the clients live here, one runtime a build and process.
_RUNTIMES: dict[str, Runtime] = {}
_BENCHMARKS: dict[str, Benchmarks] = {}


class BuildFailed(Exception):
    """A run that did not finish, or finished with too many rejects; finished work is kept."""


# What a person can mend. Everything else is our bug and crashes with its trace.
KNOWN_ERRORS = (
    BuildFailed,
    BuildRefused,
    DatasetUnreadable,
    EndpointDown,
    EndpointUnfit,
    ExportRefused,
    Interrupted,
    LaunchFailed,
    LawBroken,
    OSError,
    RecipeRefused,
    ShardDamaged,
    SourceError,
    TooManyRejects,
)


def known_errors_fail_quietly(work: Callable[P, R]) -> Callable[P, R | State]:
    """Turn an error that a person can mend into a failed state with its message, no trace."""

    @wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> R | State:
        try:
            return work(*args, **kwargs)
        except KNOWN_ERRORS as error:
            return Failed(message=f"{type(error).__name__}: {error}")

    return run


def shard_threads() -> Any:
    """The task runner of the building flows: threads that only wait, so many are cheap.

    How many shards really are in flight is the recipe's `shards_in_flight`.
    """
    return ThreadPoolTaskRunner(max_workers=64)


def stages_of(recipe: AnyRecipe) -> dict[str, Stage]:
    """The stages of a recipe, by name, in order."""
    return gen_stages(recipe) if isinstance(recipe, GenRecipe) else edit_stages(recipe)


@task(name="ingest", persist_result=False)
@known_errors_fail_quietly
def ingest_sources(
    recipe: AnyRecipe, build: str, n_buckets: int, n_rows: int | None
) -> dict[str, Any]:
    """Write `rows/` and `pictures/`. Returns counts by status and reason."""
    runtime = _RUNTIMES[build]
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


def shard_run(runtime: Runtime, bucket: int, stages: Mapping[str, Stage]) -> ShardRun:
    """The answers of a bucket, asked for and counted by a runtime.

    To be made in the shard's own thread: reading a bucket's tables must not hold up the loop.
    """
    return ShardRun(
        runtime.build, bucket, stages, chat_of=runtime.chat_of, on_answer=runtime.on_answer
    )


def run_in_slot(
    build: str, bucket: int, make: Callable[[Runtime], tuple[ShardRun, ShardWork]]
) -> dict[str, int]:
    """Do a shard's work when one of the places for shards is free. Returns new rows a table.

    Raises Interrupted, BuildFailed, and what the work raises.
    """
    runtime = _RUNTIMES.get(build)
    if runtime is None:
        raise Interrupted("the run was interrupted")
    with runtime.shard_slots:
        if runtime.stopped_by is not None:
            raise BuildFailed(f"not started: {runtime.stopped_by}")
        return _run_one(runtime, bucket, *make(runtime))


def _run_one(runtime: Runtime, bucket: int, run: ShardRun, work: ShardWork) -> dict[str, int]:
    future = runtime.submit(run_and_finish(work, run))
    try:
        _, new = future.result()
    except BaseException as error:
        if not isinstance(error, RequestStuck):
            # Trouble that the other shards would share stops those that have not begun.
            runtime.stopped_by = runtime.stopped_by or error
        future.cancel()
        if isinstance(error, CancelledError):
            raise Interrupted("the run was interrupted") from None
        raise
    if any(new.values()):
        runtime.say(
            f"shard {bucket:05d}: " + ", ".join(f"{n} new in {name}/" for name, n in new.items())
        )
    return new


@task(name="dataset", persist_result=False)
@known_errors_fail_quietly
def finish_build(recipe: AnyRecipe, build: str, n_buckets: int) -> dict[str, Any]:
    """Write `dataset/` and `rejects/`, check the build law, write the manifest. Returns it."""
    runtime, path, stages = _RUNTIMES[build], Path(build), stages_of(recipe)
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


@contextmanager
def running(
    recipe: RunSettings,
    kind: Kind | Literal["preferences"],
    *,
    rows: int,
    pictures: int,
    say: Callable[[str], None],
) -> Iterator[tuple[Runtime, int]]:
    """Own a build's folder, with a runtime and its progress shown. Gives the number of buckets too.

    `rows` fixes that number at the first run; `pictures` is how many a question about a row has.
    Raises BuildRefused.
    """
    path = Path(recipe.output)
    with ExitStack() as stack:
        stack.enter_context(locked_build(path))
        n_buckets = fixed_buckets(
            path, kind, wanted=recipe.buckets, rows=rows, shard_rows=recipe.shard_rows
        )
        counters = Counters()
        servers = SHARED_SERVERS.get()
        runtime = Runtime(
            recipe, path, pictures=pictures, counters=counters, say=say, servers=servers
        )
        stack.enter_context(shown(counters, title=f"build-firm-{kind}"))
        stack.enter_context(shown_in_prefect(counters, name=path.name))
        stack.enter_context(runtime)
        _RUNTIMES[str(path)] = runtime
        stack.callback(_RUNTIMES.pop, str(path))
        yield runtime, n_buckets


def runtime_of(build: str) -> Runtime:
    """The runtime of a build that this process works on."""
    return _RUNTIMES[build]


def call_task(work: Task[..., Any], *args: Any) -> Any:
    """Run a task here and give its value. Raises BuildFailed with the message of a failed one."""
    state = work(*args, return_state=True)
    if not state.is_completed():
        raise_bug(state)
        raise BuildFailed(state.message)
    return state.result()


def wait_for_shards(futures: list[PrefectFuture[Any]], runtime: Runtime) -> None:
    """Wait for all shards. Raises BuildFailed with what stopped the first one that failed."""
    failed = []
    for future in futures:
        future.wait()
        if not future.state.is_completed():
            raise_bug(future.state)
            failed.append(future.state.message)
    if failed:
        cause = str(runtime.stopped_by) if runtime.stopped_by else failed[0]
        raise BuildFailed(
            f"{len(failed)} of {len(futures)} shards not finished: {cause}. "
            "What is finished is kept; run again to go on."
        ) from runtime.stopped_by


def raise_bug(state: State[Any]) -> None:
    """Raises the exception of a task that failed of a bug of ours: it must crash with its trace."""
    # A state holds its exception bare, or in a record of Prefect's own.
    for error in (state.data, getattr(state.data, "result", None)):
        if isinstance(error, BaseException):
            raise error


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


def run_flow(
    recipe: RunSettings,
    overrides: Mapping[str, Any] | None,
    run: Callable[..., dict[str, Any]] = run_build,
) -> dict[str, Any] | State:
    """The body of the building flows: `run` with Prefect's logger and task runner."""
    logger = get_run_logger()
    try:
        if overrides:
            recipe = check_recipe(
                recipe.model_dump(mode="json"), type(recipe), overrides, where="overrides"
            )
        return run(recipe, say=logger.info, submit=Task.submit)
    except KNOWN_ERRORS as error:
        return Failed(message=f"{type(error).__name__}: {error}")
