"""Rewritten instructions: rows for the low scores that edits seldom get.

An edit that did what it was told scores low under an instruction that asked for something else. A
rewritten row shares pictures and differences with its parent, is judged like any other, and gets no
score from the way it was made.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.answers import Row
from pipelines.identity import digest
from pipelines.rendering import MISMATCHES
from pipelines.settings import RewriteSettings
from pipelines.shard_run import ShardRun
from pipelines.stages import stage_question
from prompts import load_prompt


def rewritten_rows(rows: Sequence[Row], settings: RewriteSettings) -> list[Row]:
    """Rows to be rewritten: of each kind, for its share of the rows that are ok.

    They stand in `rows/` with their parent's instruction until the writer has answered. Which rows
    it is for a kind is decided by hash, so that further rows or another kind change none of them.
    """
    return [
        {
            **row,
            "row_id": digest([row["row_id"], kind])[:20],
            "parent_id": row["row_id"],
            "rewrite": kind,
        }
        for row in rows
        if row["status"] == "ok"
        for kind, share in sorted(settings.per_row.items())
        if _drawn(row["row_id"], kind) < share
    ]


def _drawn(row_id: str, kind: str) -> float:
    """A number from 0 up to 1 that is this row's for a kind."""
    return int(digest(["rewrites", row_id, kind])[:16], 16) / 16**16


async def rewrite_instruction(row: Row, *, run: ShardRun, order: int) -> Row:
    """Write another instruction in place of a row's own, off from it in the way of `rewrite`.

    The writer sees no picture. A text that is the original again is asked for again.

    Returns: a row of `rewrites/`. Raises: EndpointDown when no server answers.
    Source: FIRM (arXiv:2603.12247) rewrites instructions where low scores are scarce.
    """
    stage = run.stages["rewrites"]
    instruction, kind = row["instruction"], row["rewrite"]
    values = {"instruction": instruction, "mismatch": MISMATCHES[kind]}
    text = load_prompt(stage.prompt_id).render(values)
    question = stage_question(stage, text, original=instruction)
    about = {"original": instruction, "mismatch": kind}
    return await run.answer(
        stage, question, contents=(instruction, values["mismatch"]), about=about, order=order
    )
