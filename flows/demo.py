"""The demo: both flows over the bundled rows, on one server, and a look at the result.

`python -m flows.demo`, or `make demo`, which also builds what it needs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclopts import App

from flows.build_firm_edit import build_firm_edit
from flows.build_firm_gen import build_firm_gen
from flows.command_line import print_funnel, quiet_prefect
from flows.work import SHARED_SERVERS
from foundry.shapeworld.demo_rows import true_replies
from pipelines.build import Kind
from pipelines.connecting import Servers
from pipelines.recipe import EditRecipe, GenRecipe
from pipelines.recipe_files import RecipeRefused, load_recipe
from pipelines.show import dataset_rows, format_row

DEMO = Path("examples/demo")
BUNDLED_JUDGE = "foundry/shapeworld/judge"
app = App(name="python -m flows.demo", help_flags=["--help", "-h"], version_flags=[])


def say(text: str) -> None:
    """Print for the person who watches."""
    print(text, flush=True)  # noqa: T201 - a command's own output


def beside_truth(rows: Sequence[dict[str, Any]], kind: Kind) -> str:
    """A row that was scored rightly, the one that was scored worst, and how many are which.

    What is right is known: the rows are of a drawn world. A right score for a wrong reason is shown
    only where there is no other, and is told as such.
    """
    if not rows:
        return "no finished row"
    known = true_replies(kind)
    true = [known[row["source_index"]][row["axis"] if kind == "edit" else "score"] for row in rows]
    off = [abs(row["score"] - right["score"]) for row, right in zip(rows, true, strict=True)]
    sound = [
        not miss and row["reasoning"] == right["reasoning"]
        for row, right, miss in zip(rows, true, off, strict=True)
    ]
    parts = []
    if any(sound):
        parts.append(f"a row scored rightly: {format_row(rows[sound.index(True)], kind)}")
    elif 0 in off:
        row = format_row(rows[off.index(0)], kind)
        parts.append(f"a row scored rightly, though for another reason than the true one: {row}")
    if max(off):
        worst = off.index(max(off))
        parts.append(
            f"the worst: {format_row(rows[worst], kind)}\n"
            f"  true score  {true[worst]['score']} of 5: {true[worst]['reasoning']}"
        )
    right, near = off.count(0), off.count(1)
    parts.append(
        f"Of {len(rows)} scores {right} are the true ones, {near} are one off, "
        f"{len(rows) - right - near} more."
    )
    return "\n\n".join(parts)


@app.default
def main(*, judge: str = BUNDLED_JUDGE) -> int:
    """Run build-firm-gen and build-firm-edit over the bundled rows.

    Parameters
    ----------
    judge
        A model folder or name that vLLM serves; the bundled one by default.

    """
    started = time.monotonic()
    launch = {"launch": {"model": judge}}
    try:
        gen = load_recipe(
            DEMO / "gen.yaml",
            GenRecipe,
            {"endpoints.planner": launch, "endpoints.judge": launch},
        )
        edit = load_recipe(DEMO / "edit.yaml", EditRecipe, {"endpoints.judge": launch})
    except RecipeRefused as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's own output
        return 2
    quiet_prefect()
    servers = Servers()
    token = SHARED_SERVERS.set(servers)
    manifests = []
    try:
        for flow, recipe in ((build_firm_gen, gen), (build_firm_edit, edit)):
            state = flow(recipe, return_state=True)
            if not state.is_completed():
                print(f"\n{state.message}", file=sys.stderr)  # noqa: T201 - a command's own output
                return 1
            manifests.append((recipe, state.result()))
    finally:
        SHARED_SERVERS.reset(token)
        servers.close()
    for recipe, manifest in manifests:
        say(f"\n== {recipe.output}")
        say(beside_truth(list(dataset_rows(Path(recipe.output))), manifest["kind"]) + "\n")
        print_funnel(recipe, manifest)
    if judge == BUNDLED_JUDGE:
        say("\nThe bundled judge sees drawn shapes, as here, and nothing else, and not all of its")
        say("scores are good yet: docs/shapeworld.md.")
        say("For other pictures, with a GPU: make demo JUDGE=Qwen/Qwen3-VL-8B-Instruct")
    say(f"\nbuilds/demo-gen and builds/demo-edit are ready ({time.monotonic() - started:.0f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(app())
