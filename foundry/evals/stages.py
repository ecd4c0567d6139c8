"""Running a build's stages over its rows without an orchestrator, for benchmarks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines.answers import Row
from pipelines.build import fixed_buckets, locked_build
from pipelines.dataset import run_chain
from pipelines.edit_flow import edit_groups
from pipelines.gen_flow import Outcome, gen_groups
from pipelines.ingest import ingest
from pipelines.progress import Counters, shown
from pipelines.recipe import EditRecipe, GenRecipe
from pipelines.rows import kind_of, read_rows
from pipelines.runtime import Runtime, Servers
from pipelines.shard_run import ShardRun, run_groups
from pipelines.stages import Stage, edit_stages, gen_stages
from pipelines.student import run_student_group, student_stages

AnyRecipe = GenRecipe | EditRecipe
Say = Callable[[str], None]


def run_teacher(recipe: AnyRecipe, *, servers: Servers, say: Say, title: str) -> list[Outcome]:
    """Difference first or plan then score, over all rows of the recipe's sources.

    What is there already is not asked again. Raises what a build raises: SourceError, EndpointDown,
    EndpointUnfit, LaunchFailed, TooManyRejects.
    """
    stages = gen_stages(recipe) if isinstance(recipe, GenRecipe) else edit_stages(recipe)

    async def chain(rows: list[Row], run: ShardRun, at_once: int) -> list[Outcome]:
        return await run_chain(kind_of(recipe), rows, run, at_once=at_once)

    return _run(recipe, stages, chain, servers=servers, say=say, title=title)


def run_student(
    recipe: AnyRecipe, *, servers: Servers, say: Say, title: str
) -> list[tuple[Row, str, Row]]:
    """Scores from pictures and text alone: row, axis and answer, over all rows of the sources.

    Sampling and votes are those of the recipe's score stage. Raises as `run_teacher`.
    """
    gen = isinstance(recipe, GenRecipe)
    settings = recipe.gen_scores if gen else recipe.edit_scores
    stages = student_stages(kind_of(recipe), settings, recipe.endpoints.judge[0])

    async def chain(rows: list[Row], run: ShardRun, at_once: int) -> list[tuple[Row, str, Row]]:
        ok = [{**row, "order": i} for i, row in enumerate(rows) if row["status"] == "ok"]
        groups = gen_groups(ok) if gen else edit_groups(ok)
        return await run_groups(groups, run_student_group, run, at_once=at_once)

    return _run(recipe, stages, chain, servers=servers, say=say, title=title)


def _run(
    recipe: AnyRecipe,
    stages: Mapping[str, Stage],
    chain: Callable[[list[Row], ShardRun, int], Awaitable[list[Any]]],
    *,
    servers: Servers,
    say: Say,
    title: str,
) -> list[Any]:
    path = Path(recipe.output)
    counters = Counters()
    with (
        locked_build(path),
        shown(counters, title=title),
        Runtime(recipe, path, counters=counters, say=say, servers=servers) as runtime,
    ):
        fixed_buckets(path, kind_of(recipe), wanted=1, rows=0, shard_rows=recipe.shard_rows)
        ingest(recipe, path, n_buckets=1, validation_share=0.0)
        rows = read_rows(path, 0)
        run = ShardRun(path, 0, stages, chat_of=runtime.chat_of, on_answer=runtime.on_answer)
        at_once = sum(endpoint.max_in_flight for endpoint in recipe.endpoints.judge)
        return runtime.submit(_finished(chain(rows, run, at_once), run)).result()


async def _finished(work: Awaitable[list[Any]], run: ShardRun) -> list[Any]:
    try:
        found = await work
        run.finish()
        return found
    finally:
        run.close()
