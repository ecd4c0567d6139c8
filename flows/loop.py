"""The whole loop on ShapeWorld: base, SFT on the factory's labels, preferences, DPO, each measured.

`python -m flows.loop`, or `make loop`, which also builds what it needs. Everything is one of the
project's own commands, run in a process of its own; what is done is not done again.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter, validators

from flows.steps import Step, StepFailed, StepsRefused, commits, run_steps, times
from foundry.evals.loop_measures import BASE as BASE_MODEL
from foundry.evals.loop_measures import MEASURES, bench_folder, compared_path
from foundry.evals.loop_report import write_loop_report
from pipelines.version import code_version
from pipelines.weights import folder_digest

PYTHON = ".venv/bin/python"
TRAIN_PYTHON = ".venv-train/bin/python"
VLLM_PYTHON = ".venv-vllm/bin/python"
RECIPES = Path("examples/loop")
JUDGE = "foundry/shapeworld/judge"
BASE = "foundry/shapeworld/student_base"
# Worlds to learn from are drawn of these seeds: not the judge's own, and none that measures.
FIRST_WORLD_SEED = 1000
_GATES = ("leak", "degenerate", "contradiction", "grounding", "duplicate")
_UNGATED = "{" + ", ".join(f"{gate}: false" for gate in _GATES) + "}"
app = App(name="python -m flows.loop", help_flags=["--help", "-h"], version_flags=[])


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is done: `edits` and `pictures` drawn, steps of SFT, rows of the benchmark."""

    edits: int
    pictures: int
    sft_steps: int
    bench_rows: int


# Meant for an hour on two cores, and for some hours.
QUICK = Size(edits=1200, pictures=1400, sft_steps=260, bench_rows=400)
FULL = Size(edits=2000, pictures=2000, sft_steps=500, bench_rows=400)


def seed_steps(seed: int, folder: Path, size: Size, *, judge: str, base: str) -> list[Step]:
    """All commands of one seed, in order, each of which goes on where it was cut off."""
    steps: list[Step] = []
    for kind, rows in (("edit", size.edits), ("gen", size.pictures)):
        world, labels, raw = (folder / f"{what}-{kind}" for what in ("world", "labels", "raw"))
        draw = (kind, "--rows", rows, "--seed", FIRST_WORLD_SEED + seed, "--out", world)
        steps += [
            _module(f"draw-{kind}", "foundry.shapeworld.make", *draw),
            _label(f"labels-{kind}", kind, world, labels, judge),
            # The same answers: nothing is asked for again.
            Step(name=f"copy-{kind}", command=("cp", "-aT", str(labels), str(raw))),
            _label(f"raw-{kind}", kind, world, raw, judge, gates=_UNGATED, balance="{}"),
        ]
    start = folder / "sft" / "model"
    # The same model on the same rows for every seed.
    steps += [_bench(BASE_MODEL, base, folder, size)] if seed == 0 else []
    steps += [
        _sft("sft", "labels", base, folder, seed, size),
        _bench("sft", start, folder, size, "--shuffled"),
        _card("sft", folder),
    ]
    for kind in ("edit", "gen"):
        some = folder / f"some-{kind}"
        steps.append(_first_file(f"some-{kind}", folder / f"labels-{kind}", some))
        settings = {"dataset": some, "output": folder / f"pairs-{kind}"}
        settings |= {"endpoints.student.launch.model": start}
        recipe = RECIPES / "preferences.yaml"
        flow = "flows.build_firm_preferences"
        steps.append(_module(f"pairs-{kind}", flow, recipe, *_set(settings)))
    data = f"[{folder / 'pairs-edit'}, {folder / 'pairs-gen'}]"
    settings = {"model": start, "seed": seed, "data": data, "output": folder / "dpo"}
    return [
        *steps,
        _train("dpo", "dpo", settings),
        _bench("dpo", folder / "dpo" / "model", folder, size),
        _card("dpo", folder),
        _compare("sft", "dpo", folder),
        _sft("sft-raw", "raw", base, folder, seed, size),
        _bench("sft-raw", folder / "sft-raw" / "model", folder, size),
        _compare("sft-raw", "sft", folder),
        _module("measure", "foundry.evals.loop_measures", folder),
    ]


def _sft(name: str, what: str, base: str, folder: Path, seed: int, size: Size) -> Step:
    data = f"[{folder / what}-edit, {folder / what}-gen]"
    settings = {"model": base, "data": data, "output": folder / name, "seed": seed}
    return _train("sft", name, settings | {"steps": size.sft_steps}, models=(base,))


def _module(
    name: str, module: str, *words: object, python: str = PYTHON, models: tuple[str, ...] = ()
) -> Step:
    return Step(name=name, command=(python, "-m", module, *map(str, words)), models=models)


def _set(settings: Mapping[str, object]) -> list[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def _label(name: str, kind: str, world: Path, out: Path, judge: str, **more: str) -> Step:
    roles = ("judge",) if kind == "edit" else ("planner", "judge")
    settings = {f"endpoints.{role}.launch.model": judge for role in roles}
    settings |= {"sources.path": f"{world / 'rows.jsonl'}", "output": f"{out}", **more}
    words = (RECIPES / f"{kind}.yaml", *_set(settings))
    return _module(name, f"flows.build_firm_{kind}", *words, models=(judge,))


def _first_file(name: str, build: Path, out: Path) -> Step:
    """The first file of a build's rows as a dataset: rollouts of all would take too long."""
    first, folder = shlex.quote(f"{build}/dataset/train-00000-of-"), shlex.quote(str(out))
    copy = f"mkdir -p {folder} && cp {first}*.parquet {folder}/train-00000-of-00001.parquet"
    return Step(name=name, command=("sh", "-c", copy))


def _train(
    trainer: str, name: str, settings: Mapping[str, object], models: tuple[str, ...] = ()
) -> Step:
    recipe = f"trainers/recipes/shapeworld_{trainer}.yaml"
    # ShapeBench measures, against the truth.
    words = ("--config", recipe, *_set({**settings, "evaluation.rows": 0}))
    return _module(name, f"trainers.{trainer}", *words, python=TRAIN_PYTHON, models=models)


def _bench(name: str, model: Path | str, folder: Path, size: Size, *more: str) -> Step:
    words = ("--direct", "--no-votes", *more, "--launch", "--model", model)
    out = bench_folder(folder, name)
    words = (*words, "--rows", size.bench_rows, "--out", out)
    models = (str(model),) if name == BASE_MODEL else ()
    return _module(f"bench-{name}", "foundry.evals.run", "shapebench", *words, models=models)


def _card(name: str, folder: Path) -> Step:
    words = (folder / name / "model", bench_folder(folder, name))
    return _module(f"card-{name}", "foundry.evals.card", *words)


def _compare(a: str, b: str, folder: Path) -> Step:
    reports = (bench_folder(folder, a), bench_folder(folder, b))
    out = ("--out", compared_path(folder, a, b))
    return _module(f"compare-{a}-{b}", "foundry.evals.compare", *reports, *out)


@app.default
def main(
    *,
    seeds: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 1,
    full: bool = False,
    out: Path = Path("builds/loop"),
    judge: str = JUDGE,
    base: str = BASE,
) -> int:
    """Close the loop on ShapeWorld: base, SFT on the judge's labels, preferences, DPO.

    Parameters
    ----------
    seeds
        So many times, of the seeds 0, 1, ...: other rows to learn from, in another order.
    full
        More rows and more steps: hours.
    out
        Folder of everything; what is done there is not done again. One folder a judge and base.
    judge
        A model folder that labels: the factory's teacher.
    base
        A model folder that learns.

    """
    size = FULL if full else QUICK
    pythons = (PYTHON, TRAIN_PYTHON, VLLM_PYTHON)
    if missing := [python for python in pythons if not Path(python).exists()]:
        print(f"no {missing[0]} here: make setup", file=sys.stderr)  # noqa: T201 - its own output
        return 2
    for role, model in (("judge", judge), ("base", base)):
        if folder_digest(Path(model)) is None:
            told = f"--{role} {model}: no folder with a model's weights"
            print(told, file=sys.stderr)  # noqa: T201 - a command's own output
            return 2
    folders = [out / f"seed-{seed}" for seed in range(seeds)]
    how = f"--seeds {seeds}{' --full' * full} --out {out}"
    how += f" --judge {judge}" * (judge != JUDGE) + f" --base {base}" * (base != BASE)
    for seed, folder in enumerate(folders):
        _say(f"seed {seed}, {seed + 1} of {seeds}: {folder}")
        try:
            run_steps(seed_steps(seed, folder, size, judge=judge, base=base), folder, _say)
        except (StepsRefused, StepFailed) as error:
            print(error, file=sys.stderr)  # noqa: T201 - a command's own output
            return 2 if isinstance(error, StepsRefused) else 1
        found = _found(folders[: seed + 1], size, full=full, judge=judge, base=base)
        found["seeds_asked"] = seeds
        report = write_loop_report(out, found, f"python -m flows.loop {how}")
        _say(f"\n{report.read_text('utf-8')}\n{report}, and beside it the numbers as .json")
    return 0


def _found(
    folders: Sequence[Path], size: Size, *, full: bool, judge: str, base: str
) -> dict[str, Any]:
    """Everything the report shows of the seeds that are done."""
    return {
        "seeds": [
            json.loads((folder / MEASURES).read_text("utf-8")) | {"steps": times(folder)}
            for folder in folders
        ],
        "commits": sorted({commit for folder in folders for commit in commits(folder)}),
        "size": asdict(size),
        "full": full,
        "judge": {"model": judge, "weights": folder_digest(Path(judge))},
        "base": {"model": base, "weights": folder_digest(Path(base))},
        **code_version(),
    }


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command's own output


if __name__ == "__main__":
    sys.exit(app())
