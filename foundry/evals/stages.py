"""Running a build's stages over its rows without an orchestrator, for benchmarks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from foundry.rewards.scoring import VOTE_TEMPERATURE
from pipelines.answers import Row
from pipelines.build import PICTURES, Kind, fixed_buckets, locked_build
from pipelines.chains import expected_answers, groups_of, run_chain
from pipelines.connecting import Servers
from pipelines.gen_flow import Outcome
from pipelines.ingest import ingest
from pipelines.pair_choice import pair_stages, run_pair
from pipelines.preferences.recipe import RolloutSettings
from pipelines.preferences.rollouts import get_rollouts
from pipelines.progress import Counters, shown
from pipelines.recipe import EditRecipe, GenRecipe
from pipelines.rows import kind_of, read_rows
from pipelines.runtime import Runtime
from pipelines.settings import StageSettings
from pipelines.shard_run import ShardRun, run_and_finish, run_groups
from pipelines.stages import Stage, edit_stages, gen_stages
from pipelines.student import (
    AxesOf,
    StudentAnswer,
    all_axes,
    ask_student,
    run_student_group,
    student_stages,
)

AnyRecipe = GenRecipe | EditRecipe
Say = Callable[[str], None]


def benchmark_recipe(
    kind: Kind,
    output: Path,
    sources: Sequence[Mapping[str, Any]],
    endpoint: Mapping[str, Any],
    *,
    votes: int,
) -> AnyRecipe:
    """A recipe whose scores come of one greedy reply, or are the majority of several at 0.7.

    `endpoint` is that of a recipe: `url` and `model`, or `launch`. Raises pydantic's
    ValidationError for one that is none.
    """
    temperature = VOTE_TEMPERATURE if votes > 1 else 0.0
    score = {"votes": votes, "temperature": temperature, "label_mass_share": 0.0}
    common = {
        "output": str(output),
        "sources": sources,
        "buckets": 1,
        # Rejects are a measure here, not a reason to stop.
        "reject_share": 1.0,
    }
    if kind == "edit":
        return EditRecipe.model_validate(
            common | {"endpoints": {"judge": endpoint}, "edit_scores": score}
        )
    roles = {"planner": endpoint, "judge": endpoint}
    return GenRecipe.model_validate(common | {"endpoints": roles, "gen_scores": score})


def run_teacher(recipe: AnyRecipe, *, servers: Servers, say: Say, title: str) -> list[Outcome]:
    """Difference first or plan then score, over all rows of the recipe's sources.

    What is there already is not asked again. Raises what a build raises: SourceError, EndpointDown,
    EndpointUnfit, LaunchFailed, TooManyRejects.
    """
    kind = kind_of(recipe)
    stages = gen_stages(recipe) if isinstance(recipe, GenRecipe) else edit_stages(recipe)

    async def chain(rows: list[Row], run: ShardRun, at_once: int) -> list[Outcome]:
        return await run_chain(kind, rows, run, at_once=at_once)

    expected = partial(expected_answers, kind)
    return _run(recipe, stages, chain, expected, servers=servers, say=say, title=title)


def run_student(
    recipe: AnyRecipe,
    *,
    servers: Servers,
    say: Say,
    title: str,
    plan: Callable[[list[Row]], AxesOf] = lambda rows: all_axes,
) -> list[StudentAnswer]:
    """Scores from pictures and text alone, over all rows of the sources.

    Sampling and votes are those of the recipe's score stage. `plan` sees the rows before anything
    is asked and says which axes of each are asked about. Raises as `run_teacher`, and as `plan`.
    """
    settings = recipe.gen_scores if isinstance(recipe, GenRecipe) else recipe.edit_scores
    stages = student_stages(kind_of(recipe), settings, recipe.endpoints.judge[0])
    return _run_student(recipe, stages, ask_student, plan, servers=servers, say=say, title=title)


def run_rollouts(
    recipe: AnyRecipe,
    *,
    votes: int,
    servers: Servers,
    say: Say,
    title: str,
    plan: Callable[[list[Row]], AxesOf],
) -> list[StudentAnswer]:
    """So many replies to one request about each row at temperature 0.7, none asked for again.

    All stand in the answer's `rollouts`, each with a score or a reason. Otherwise as `run_student`.
    """
    kind = kind_of(recipe)
    settings = RolloutSettings(k=votes, temperature=VOTE_TEMPERATURE).as_scores()
    judge = recipe.endpoints.judge[0]
    stages = student_stages(kind, settings, judge, table=f"{kind}_rollouts")
    ask = partial(ask_student, logprobs=False, get=get_rollouts)
    return _run_student(recipe, stages, ask, plan, servers=servers, say=say, title=title)


def _run_student(
    recipe: AnyRecipe,
    stages: Mapping[str, Stage],
    ask: Callable[..., Awaitable[Row]],
    plan: Callable[[list[Row]], AxesOf],
    *,
    servers: Servers,
    say: Say,
    title: str,
) -> list[StudentAnswer]:
    kind = kind_of(recipe)

    async def chain(rows: list[Row], run: ShardRun, at_once: int) -> list[StudentAnswer]:
        run_group = partial(run_student_group, axes_of=plan(rows), ask=ask)
        return await run_groups(groups_of(kind, rows), run_group, run, at_once=at_once)

    def expected(rows: list[Row]) -> dict[str, int]:
        axes_of = plan(rows)
        n_answers = sum(len(axes_of(row)) for group in groups_of(kind, rows) for row in group)
        return {stage.table: n_answers for stage in stages.values()}

    return _run(recipe, stages, chain, expected, servers=servers, say=say, title=title)


def run_pairs(
    recipe: GenRecipe,
    *,
    servers: Servers,
    say: Say,
    title: str,
    plan: Callable[[list[Row]], list[list[Row]]],
) -> list[Row]:
    """Choices of the better of two generated pictures, each pair shown in both orders.

    `plan` sees the rows before anything is asked and makes pairs of them, each row with its `order`
    in the bucket. Returns two answers a pair, in the order of the pairs. Raises as `run_teacher`,
    and as `plan`.
    """
    stages = pair_stages(StageSettings(), recipe.endpoints.judge[0])

    async def chain(rows: list[Row], run: ShardRun, at_once: int) -> list[Row]:
        return await run_groups(plan(rows), run_pair, run, at_once=at_once)

    def expected(rows: list[Row]) -> dict[str, int]:
        return {stage.table: 2 * len(plan(rows)) for stage in stages.values()}

    return _run(recipe, stages, chain, expected, servers=servers, say=say, title=title)


def _run(
    recipe: AnyRecipe,
    stages: Mapping[str, Stage],
    chain: Callable[[list[Row], ShardRun, int], Coroutine[Any, Any, list[Any]]],
    expected: Callable[[list[Row]], dict[str, int]],
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
        Runtime(
            recipe,
            path,
            pictures=len(PICTURES[kind_of(recipe)]),
            counters=counters,
            say=say,
            servers=servers,
        ) as runtime,
    ):
        fixed_buckets(path, kind_of(recipe), wanted=1, rows=0, shard_rows=recipe.shard_rows)
        ingest(recipe, path, n_buckets=1, validation_share=0.0)
        rows = read_rows(path, 0)
        for table, answers in expected(rows).items():
            counters.expect(table, answers)
        run = ShardRun(path, 0, stages, chat_of=runtime.chat_of, on_answer=runtime.on_answer)
        at_once = sum(endpoint.max_in_flight for endpoint in recipe.endpoints.judge)
        found, _ = runtime.submit(run_and_finish(partial(chain, rows, run, at_once), run)).result()
        return found
