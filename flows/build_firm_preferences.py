"""Flow `build-firm-preferences`: pairs for DPO from an SFT model's own rollouts on labelled rows.

`python -m flows.build_firm_preferences recipe.yaml` runs it here; see `flows.serve` for the
deployment.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pyarrow.parquet as pq
from cyclopts import App, Parameter
from prefect import State, flow, task
from prefect.futures import PrefectFuture

from flows.command_line import run_in_foreground
from flows.work import (
    ShardWork,
    call_task,
    known_errors_fail_quietly,
    run_flow,
    run_in_slot,
    running,
    runtime_of,
    shard_run,
    shard_threads,
    wait_for_shards,
)
from pipelines.build import PICTURES, Kind
from pipelines.dataset_reading import open_dataset
from pipelines.preferences.labelled import write_labelled
from pipelines.preferences.law import check_preference_law
from pipelines.preferences.mining import COMPARISONS, groups_of, mine_group, preference_stages
from pipelines.preferences.recipe import PreferenceRecipe
from pipelines.preferences.write import write_preferences
from pipelines.rows import read_rows
from pipelines.runtime import Runtime, TooManyRejects, check_keys
from pipelines.shard_run import ShardRun, run_groups
from pipelines.shards import write_json
from pipelines.stages import stage_digests
from pipelines.version import code_version


@task(name="labelled", persist_result=False)
@known_errors_fail_quietly
def take_labelled(recipe: PreferenceRecipe, build: str, n_buckets: int, n_rows: int) -> int:
    """Write `rows/` and `images/`. Returns how many pictures are not those that the judge saw."""
    counters = runtime_of(build).counters
    counters.expect("rows", n_rows)
    return write_labelled(
        open_dataset(Path(recipe.dataset)),
        Path(build),
        n_buckets=n_buckets,
        on_progress=partial(counters.set_done, "rows"),
    )


@task(name="shard", task_run_name="shard-{bucket:05d}", persist_result=False)
@known_errors_fail_quietly
def mine_shard(recipe: PreferenceRecipe, build: str, kind: Kind, bucket: int) -> dict[str, int]:
    """One bucket: rollouts, then comparisons. Returns the number of new rows a table."""

    def work(runtime: Runtime) -> tuple[ShardRun, ShardWork]:
        run = shard_run(runtime, bucket, preference_stages(kind, recipe))
        groups = groups_of(kind, read_rows(runtime.build, bucket))
        at_once = sum(e.max_in_flight for e in recipe.endpoints.student)
        mine = partial(mine_group, rules=recipe.pairs)
        return run, partial(run_groups, groups, mine, run, at_once=at_once)

    return run_in_slot(build, bucket, work)


@task(name="preferences", persist_result=False)
@known_errors_fail_quietly
def finish_preferences(
    recipe: PreferenceRecipe,
    build: str,
    kind: Kind,
    splits: list[str],
    n_buckets: int,
    unlike: int,
) -> dict[str, Any]:
    """Write pairs, hard cases and unpaired rows, check the law, write the manifest. Returns it."""
    runtime, path = runtime_of(build), Path(build)
    stages = preference_stages(kind, recipe)
    written = write_preferences(path, kind, recipe, stages, splits=splits, n_buckets=n_buckets)
    law = check_preference_law(path, n_buckets=n_buckets, most_pairs=recipe.pairs.most_pairs)
    manifest = {
        "kind": "preferences",
        "rows_of": kind,
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **code_version(),
        "recipe": recipe.model_dump(mode="json"),
        "buckets": n_buckets,
        "stages": stage_digests(stages),
        "endpoints": runtime.probes,
        "requests": runtime.requests,
        "pictures_unlike_those_judged": unlike,
        **written.tally,
        "balance": written.balance or None,
        "law": asdict(law),
        "written": written.files,
    }
    write_json(path / "manifest.json", manifest)
    return manifest


def run_preferences(
    recipe: PreferenceRecipe,
    *,
    say: Callable[[str], None],
    submit: Callable[..., PrefectFuture[Any]],
) -> dict[str, Any]:
    """Make or go on with a preference build. Returns its manifest.

    Raises DatasetUnreadable and BuildRefused before anything is asked; BuildFailed when a shard
    could not be finished and TooManyRejects when too many rows have no usable rollout, with all
    finished work kept.
    """
    check_keys(recipe)
    dataset = open_dataset(Path(recipe.dataset))
    kind, build = dataset.kind, str(Path(recipe.output))
    n_rows = sum(pq.read_metadata(path).num_rows for path in dataset.paths)
    pictures = len(PICTURES[kind])
    with running(recipe, "preferences", rows=n_rows, pictures=pictures, say=say) as (
        runtime,
        n_buckets,
    ):
        unlike = call_task(take_labelled, recipe, build, n_buckets, n_rows)
        runtime.counters.expect(f"{kind}_rollouts", n_rows)
        if recipe.endpoints.judge:
            runtime.counters.expect(COMPARISONS, None)
        futures = [submit(mine_shard, recipe, build, kind, bucket) for bucket in range(n_buckets)]
        wait_for_shards(futures, runtime)
        done = (recipe, build, kind, list(dataset.splits), n_buckets, unlike)
        manifest = call_task(finish_preferences, *done)
    _check_reject_share(recipe, manifest)
    return manifest


def _check_reject_share(recipe: PreferenceRecipe, manifest: Mapping[str, Any]) -> None:
    reasons, rows = manifest["unpaired"], manifest["law"]["labelled"]
    unusable = sum(n for r, n in reasons.items() if r.startswith(("reply:", "request:", "picture")))
    if rows and unusable > recipe.reject_share * rows:
        raise TooManyRejects(
            f"{recipe.output}: {unusable} of {rows} rows have no usable rollout, more than "
            f"reject_share: {recipe.reject_share:g}; reasons: {reasons}. "
            "The pairs of the others were written; see unpaired/."
        )


@flow(
    name="build-firm-preferences",
    task_runner=shard_threads(),
    persist_result=False,
    validate_parameters=True,
)
def build_firm_preferences(
    recipe: PreferenceRecipe, overrides: dict[str, Any] | None = None
) -> dict[str, Any] | State:
    """Make or go on with a preference build.

    `overrides` sets single fields of the recipe by dotted name, such as `rollouts.k`.
    Returns the build's manifest, or a failed state whose message says what to do.
    """
    return run_flow(recipe, overrides, run_preferences)


def print_pairs(recipe: PreferenceRecipe, manifest: Mapping[str, Any]) -> None:
    """Print what became of the rows and rollouts, and where the pairs are."""
    law = manifest["law"]
    lines = [_counts("rollouts", manifest["rollouts"])]
    if manifest["compared"]:
        lines.append(_counts("rationales compared", manifest["compared"]))
    lines.append(_counts("pairs", manifest["pairs"]))
    for one in manifest["labels"]:
        lines.append(
            f"    {one['axis']} {one['label']}: {one['pairs']} pairs of {one['paired']} rows, "
            f"{one['hard']} hard, {one['unpaired']} unpaired, of {one['rows']}"
        )
    lines.append(_counts("unpaired", manifest["unpaired"]))
    lines.append(
        f"preference law: {law['labelled']} labelled = {law['paired']} paired + {law['hard']} hard "
        f"+ {law['unpaired']} unpaired; {law['pairs']} pairs"
    )
    for folder, files in manifest["written"].items():
        rows = ", ".join(f"{name} {n}" for name, n in files.items()) or "nothing"
        lines.append(f"{recipe.output}/{folder}: {rows}")
    print("\n".join(lines))  # noqa: T201 - a command's own output


def _counts(what: str, counts: Mapping[str, int]) -> str:
    return f"{what}: " + (", ".join(f"{name} {n}" for name, n in counts.items()) or "none")


app = App(
    name="python -m flows.build_firm_preferences", help_flags=["--help", "-h"], version_flags=[]
)


@app.default
def main(
    recipe: Path,
    *,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"])] = (),
) -> int:
    """Run build-firm-preferences in the foreground.

    Parameters
    ----------
    recipe
        The recipe, a YAML file.
    settings
        A field to set over the recipe, such as `--set rollouts.k=4`; may be repeated.

    """
    return run_in_foreground(
        build_firm_preferences, recipe, PreferenceRecipe, settings, print_pairs
    )


if __name__ == "__main__":
    sys.exit(app())
