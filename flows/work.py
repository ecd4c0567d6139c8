"""What the building flows share: a runtime a build, its shards, and errors told without a trace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from prefect import State, Task, get_run_logger
from prefect.futures import PrefectFuture
from prefect.states import Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.artifacts import shown_in_prefect
from pipelines.build import BuildRefused, Kind, fixed_buckets, locked_build
from pipelines.chat import EndpointDown, RequestStuck
from pipelines.connecting import Servers
from pipelines.dataset_reading import DatasetUnreadable
from pipelines.export.conversations import ExportRefused
from pipelines.launch import LaunchFailed
from pipelines.law import LawBroken
from pipelines.probe import EndpointUnfit
from pipelines.progress import Counters, shown
from pipelines.recipe import RunSettings
from pipelines.recipe_files import RecipeRefused, check_recipe
from pipelines.runtime import Interrupted, Runtime, TooManyRejects
from pipelines.shard_run import ShardRun, run_and_finish
from pipelines.shards import ShardDamaged
from pipelines.sources import SourceError
from pipelines.stages import Stage

ShardWork = Callable[[], Awaitable[Any]]
P = ParamSpec("P")
R = TypeVar("R")

# Set by a caller that runs several builds on one set of launched servers.
SHARED_SERVERS: ContextVar[Servers | None] = ContextVar("SHARED_SERVERS", default=None)
# Prefect tasks get plain arguments; the clients live here, one runtime a build and process.
_RUNTIMES: dict[str, Runtime] = {}


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


def run_flow(
    recipe: RunSettings,
    overrides: Mapping[str, Any] | None,
    run: Callable[..., dict[str, Any]],
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
