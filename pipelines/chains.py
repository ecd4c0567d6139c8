"""The chain of stages of each flow over the rows of a bucket."""

from __future__ import annotations

from pipelines.answers import Row
from pipelines.build import Kind
from pipelines.edit_flow import edit_groups, run_edit_group
from pipelines.gen_flow import Outcome, gen_groups, run_gen_group
from pipelines.rendering import AXES
from pipelines.shard_run import ShardRun, run_groups


async def run_chain(kind: Kind, rows: list[Row], run: ShardRun, *, at_once: int) -> list[Outcome]:
    """Run the chain of stages over the rows of a bucket that are ok."""
    groups = groups_of(kind, rows)
    return await run_groups(
        groups, run_gen_group if kind == "gen" else run_edit_group, run, at_once=at_once
    )


def groups_of(kind: Kind, rows: list[Row]) -> list[list[Row]]:
    """The rows that are ok, by what they share, each with its place in the bucket (`order`)."""
    ok = [{**row, "order": i} for i, row in enumerate(rows) if row["status"] == "ok"]
    return gen_groups(ok) if kind == "gen" else edit_groups(ok)


def expected_answers(kind: Kind, rows: list[Row]) -> dict[str, int]:
    """How many answers by table the rows of a bucket need at most."""
    groups = groups_of(kind, rows)
    n_rows = sum(map(len, groups))
    if kind == "gen":
        return {"checklists": len(groups), "gen_scores": n_rows}
    rewritten = sum(row.get("rewrite") is not None for row in rows)
    rewrites = {"rewrites": rewritten} if rewritten else {}
    return {**rewrites, "differences": len(groups), "edit_scores": len(AXES) * n_rows}
