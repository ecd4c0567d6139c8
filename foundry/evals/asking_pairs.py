"""A benchmark's pairs of generated pictures, each shown to a judge at once and in both orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundry.evals.asking import refuse_rejected, write_source
from foundry.evals.bench import Pair, Rows
from foundry.evals.stages import benchmark_recipe, run_pairs
from pipelines.answers import Row
from pipelines.connecting import Servers
from pipelines.recipe import GenRecipe

AS_GIVEN, SWAPPED, BOTH = "as given", "swapped", "both orders"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The two answers about a pair, as their table holds them: `choice` is a place in the request.

    `swapped` showed the pair's second picture first.
    """

    as_given: Row
    swapped: Row


def ask_pairs(
    name: str,
    rows: Rows,
    pairs: Sequence[Pair],
    out: Path,
    *,
    endpoint: dict[str, Any],
    servers: Servers,
    say: Callable[[str], None],
) -> list[Choices]:
    """Both choices of each pair, in order. Raises as `ask`."""
    recipe = benchmark_recipe("gen", out / "gen", write_source(name, rows, out), endpoint, votes=1)
    if not isinstance(recipe, GenRecipe):
        raise TypeError("pairs of edits are not shown together")

    def plan(ingested: list[Row]) -> list[list[Row]]:
        refuse_rejected(ingested, rows)
        ok = {row["row_id"]: {**row, "order": i} for i, row in enumerate(ingested)}
        shown = {row["source_id"]: ok[row["duplicate_of"] or row["row_id"]] for row in ingested}
        return [[shown[pair.first], shown[pair.second]] for pair in pairs]

    found = run_pairs(recipe, servers=servers, say=say, title=f"{name}, both orders", plan=plan)
    return [
        Choices(as_given=as_given, swapped=swapped)
        for as_given, swapped in zip(found[::2], found[1::2], strict=True)
    ]
