"""What each score mode of the reward server costs, beside how near the truth its scores are.

ShapeBench's rows, scored by a reward server in each mode over one real vLLM, whose caches are
emptied in between.

    .venv/bin/python -m bench.reward_modes [--rows 1000] [--model foundry/shapeworld/judge]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from bench.real_vllm import empty_caches, start_vllm
from bench.reward_process import listening, reward_process
from foundry.evals.markdown import table_cell, table_row, table_rule
from foundry.evals.metrics import best_constant, mae, of_rows, with_interval
from foundry.evals.shapebench import AXES_OF, KINDS, write_rows
from foundry.rewards.client import RewardClient, edit_item, gen_item
from foundry.rewards.settings import Mode
from foundry.shapeworld.rows import Kind
from pipelines.launch import stop_server

# Of a kind: the rows' items and their truth.
Cases = tuple[list[dict[str, str]], list[dict[str, Any]]]
_TRUTH = {"gen": "score"}
# Items on their way at once, and how many are asked before any is timed.
AT_ONCE, WARM = 128, 64
# Speed is measured, and nothing is given up for being slow.
LATE_S = 3600.0


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=1000, help="half of them edits")
    parser.add_argument("--model", default="foundry/shapeworld/judge", help="what vLLM serves")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cases = read_cases(folder / "rows", options.rows)
        head = ("mode", "rows", "items/s", "invalid", "axis", "MAE", "best constant's")
        print(table_row(*head), table_rule(len(head)), sep="\n", flush=True)
        vllm = start_vllm(options.model, folder)
        try:
            for mode in get_args(Mode):
                judge = {"url": vllm.url, "model": options.model}
                settings = {"endpoint": judge, "mode": mode, "deadline_s": LATE_S}
                with reward_process(settings, folder) as server:
                    url = listening(server)["rewards"]
                    for kind, (items, truth) in cases.items():
                        # The first pay for what is made once, such as a grammar.
                        asyncio.run(ask(url, items[:WARM]))
                        asyncio.run(empty_caches(vllm.url))
                        found = asyncio.run(ask(url, items[WARM:]))
                        tell(mode, kind, truth[WARM:], *found)
        finally:
            stop_server(vllm)


def read_cases(folder: Path, rows: int) -> dict[Kind, Cases]:
    """ShapeBench's rows as items, with what is true of each."""
    truth = write_rows(folder, rows)
    cases: dict[Kind, Cases] = {}
    for kind in KINDS:
        items, known = [], []
        for world in sorted(folder.glob(f"{kind}*")):
            for line in (world / "rows.jsonl").read_text("utf-8").splitlines():
                row = json.loads(line)
                items.append(_item(kind, row, world))
                known.append(truth[kind][row["id"]])
        cases[kind] = (items, known)
    return cases


def _item(kind: Kind, row: Mapping[str, str], world: Path) -> dict[str, str]:
    if kind == "gen":
        return gen_item(row["prompt"], world / row["image"])
    source, edited = world / row["source_image"], world / row["edited_image"]
    return edit_item(row["instruction"], source, edited)


async def ask(url: str, items: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], float]:
    """The answers, and the seconds that they took."""
    patience = {"deadline_s": LATE_S, "timeout_s": 2 * LATE_S}
    async with RewardClient(url, batch=1, at_once=AT_ONCE, **patience) as client:
        begin = time.monotonic()
        return await client.score(items), time.monotonic() - begin


def tell(
    mode: str,
    kind: Kind,
    truth: Sequence[Mapping[str, Any]],
    answers: Sequence[Mapping[str, Any]],
    seconds: float,
) -> None:
    """A line an axis: speed, what has no score, and the error of what has one."""
    invalid = sum(not answer["valid"] for answer in answers)
    for axis in AXES_OF[kind]:
        scored = [
            (known[_TRUTH.get(axis, axis)], answer["scores"][axis]["value"], known["id"])
            for known, answer in zip(truth, answers, strict=True)
            if answer["scores"].get(axis, {}).get("valid")
        ]
        true = np.array([one for one, _, _ in scored], float)
        given = np.array([one for _, one, _ in scored], float)
        groups = [row.rsplit("-", 1)[0] for _, _, row in scored]
        error = with_interval(partial(of_rows, mae, true, given), groups)
        constant = best_constant(true, mae)[1] if scored else float("nan")
        rate = f"{len(answers) / seconds:.1f}"
        cells = (mode, f"{len(answers)} {kind}", rate, invalid, axis, table_cell(error))
        print(table_row(*cells, f"{constant:.2f}"), flush=True)


if __name__ == "__main__":
    main()
