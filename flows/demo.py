"""The demo: both flows over the bundled rows, on one server, and a look at the result.

`python -m flows.demo`, or `make demo`, which also builds what it needs.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from cyclopts import App

from flows.build_firm_edit import build_firm_edit
from flows.build_firm_gen import build_firm_gen
from flows.command_line import RecipeRefused, load_recipe, print_funnel, quiet_prefect
from flows.run import SHARED_SERVERS
from foundry.shapeworld.demo_rows import true_scores
from pipelines.build import Kind
from pipelines.recipe import EditRecipe, GenRecipe
from pipelines.runtime import Servers
from pipelines.show import dataset_rows, show_build

DEMO = Path("examples/demo")
BUNDLED_JUDGE = "foundry/shapeworld/judge"
app = App(name="python -m flows.demo", help_flags=["--help", "-h"], version_flags=[])


def say(text: str) -> None:
    """Print for the person who watches."""
    print(text, flush=True)  # noqa: T201 - a command's own output


def compare_with_truth(build: Path, kind: Kind) -> str:
    """What the true scores are, which a drawn world knows: of the row shown, and of all."""
    true = true_scores(kind)
    rows = list(dataset_rows(build))
    pairs = [(row["score"], true[row["source_index"]][row.get("axis") or "score"]) for row in rows]
    if not pairs:
        return ""
    right = sum(given == known for given, known in pairs)
    near = sum(abs(given - known) == 1 for given, known in pairs)
    return (
        f"  true score  {pairs[0][1]} of 5\n"
        f"of {len(pairs)} scores {right} are the true ones, {near} are one off, "
        f"{len(pairs) - right - near} more"
    )


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
        say(f"\n== {recipe.output}: one finished row\n{show_build(Path(recipe.output))}")
        say(f"{compare_with_truth(Path(recipe.output), manifest['kind'])}\n")
        print_funnel(recipe, manifest)
    if judge == BUNDLED_JUDGE:
        say("\nThe bundled judge sees drawn shapes, as here, and nothing else, and not all of its")
        say("scores are good yet: docs/shapeworld.md.")
        say("For other pictures, with a GPU: make demo JUDGE=Qwen/Qwen3-VL-8B-Instruct")
    say(f"\nbuilds/demo-gen and builds/demo-edit are ready ({time.monotonic() - started:.0f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(app())
