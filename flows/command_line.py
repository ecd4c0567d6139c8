"""What a person sees of a run that is started from the command line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pipelines.recipe import Recipe, RunSettings
from pipelines.recipe_files import RecipeRefused, load_recipe, parse_settings

R = TypeVar("R", bound=RunSettings)


def run_in_foreground(
    flow: Callable[..., Any],
    recipe_path: Path,
    model: type[R],
    settings: Sequence[str],
    tell: Callable[[R, Mapping[str, Any]], None],
) -> int:
    """Run a flow here with a progress bar a stage. Returns the exit status.

    `tell` prints what came of it, from the recipe and the manifest.
    """
    try:
        recipe = load_recipe(recipe_path, model, parse_settings(settings))
    except RecipeRefused as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's own output
        return 2
    quiet_prefect()
    state = flow(recipe, return_state=True)
    if not state.is_completed():
        print(f"\n{state.message}", file=sys.stderr)  # noqa: T201 - a command's own output
        return 1
    tell(recipe, state.result())
    return 0


def quiet_prefect() -> None:
    """Leave to Prefect's log what a person in front of a progress bar wants to read."""
    for name in ("prefect.server", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # A failed shard is told once, at the end; our bugs come with their trace from the flow.
    logging.getLogger("prefect.task_runs").setLevel(logging.CRITICAL)


def print_funnel(recipe: Recipe, manifest: Mapping[str, Any]) -> None:
    """Print what became of the rows, by stage and reason, and where the results are."""
    funnel, law = manifest["funnel"], manifest["law"]
    lines = [f"{'stage':<14}{'total':>8}{'ok':>8}{'rejected':>10}{'duplicate':>11}"]
    for name, counts in funnel.items():
        if name == "rejects":
            continue
        duplicates = counts["duplicate"] if name == "rows" else ""
        lines.append(
            f"{name:<14}{counts['total']:>8}{counts['ok']:>8}{counts['rejected']:>10}{duplicates:>11}"
        )
        if counts.get("rewritten"):
            lines.append(f"    of these with a rewritten instruction: {counts['rewritten']}")
        lines += [f"    {reason}: {n}" for reason, n in counts["reasons"].items()]
    lines.append(
        f"build law: {law['source']} source = {law['dataset']} dataset "
        f"+ {law['rejected']} rejected + {law['duplicates']} duplicates"
        + (" (an edit row counts once an axis)" if manifest["kind"] == "edit" else "")
    )
    lines += [_control_line(count) for count in manifest["controls"]]
    lines += [_balance_line(one) for one in manifest["balance"] or []]
    splits = ", ".join(f"{split} {rows}" for split, rows in manifest["splits"].items())
    lines.append(f"{recipe.output}/dataset: {splits}")
    report = Path(recipe.output) / "report" / "index.html"
    lines.append(f"{report}: figures and rows, to open in a browser" if report.exists() else "")
    print("\n".join(filter(None, lines)))  # noqa: T201 - a command's own output


def _control_line(count: Mapping[str, Any]) -> str:
    what = f"control {count['control']}" + (f", {count['axis']}" if count["axis"] else "")
    mean = "" if count["mean_score"] is None else f", mean {count['mean_score']:.2f}"
    if count["expected"] is None:
        return f"{what}: {count['n']} scored{mean}"
    low, high = count["expected"]
    wanted = f"{low}" if low == high else f"{low} or {high}"
    total = count["n"] + count["rejected"]
    return f"{what}: {count['as_expected']} of {total} scored {wanted}, as expected{mean}"


def _balance_line(one: Mapping[str, Any]) -> str:
    what = f"balance {one['split']}" + (f", {one['axis']}" if one["axis"] else "")
    return (
        f"{what}: {sum(one['after'])} of {sum(one['before'])} rows kept ({one['kept_share']:.0%}), "
        f"scores 1-5 {one['before']} -> {one['after']}, furthest from its share "
        f"{one['largest_deviation']:.3f}; effective rows "
        f"{one['effective_before']:.0f} -> {one['effective_after']:.0f}"
    )
