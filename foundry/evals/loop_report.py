"""The report of the loop on ShapeWorld: whether its targets are met, and the figures."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from foundry.evals.compare import NAMES
from foundry.evals.loop_measures import AXES_TOLD, COMPARED, LABELS, MODELS
from foundry.evals.loop_targets import each_axis, minutes_of, rank_value, targets
from foundry.evals.markdown import table_cell, table_number, table_row, table_rule
from foundry.evals.scores_report import Found
from pipelines.shards import write_bytes

TITLES = {
    "base": "base, before any score",
    "sft-raw": "SFT on raw labels",
    "sft": "SFT on gated, balanced labels",
    "dpo": "DPO after that SFT",
    "raw": "labels as the judge gave them",
    "labels": "labels gated and balanced",
}
# The labels that each SFT was taught.
TAUGHT = {"sft-raw": "raw", "sft": "labels"}


def write_loop_report(out: Path, found: Found, how: str) -> Path:
    """Write `loop.md` and `loop.json`. Returns the former.

    `found` has the `seeds`, each of `measure_seed` with the `steps` and what each took, `size`,
    `full`, `judge` and `base` (each a `model` and its `weights`) and `commits`; `how` is the
    command. Raises OSError.
    """
    found = found | {"targets": targets(found)}
    numbers = json.dumps(found, indent=1, allow_nan=False) + "\n"
    write_bytes(out / "loop.json", numbers.encode())
    report = out / "loop.md"
    write_bytes(report, markdown(found, how).encode())
    return report


def markdown(found: Found, how: str) -> str:
    """The report."""
    seeds = found["seeds"]
    size = found["size"]
    lines = [
        "# The loop on ShapeWorld",
        "",
        "The factory's judge labels drawn rows; a student that never saw a score learns from those "
        "labels (SFT), then from pairs of its own replies (DPO), and is measured against the truth "
        f"on {size['bench_rows']} rows of ShapeBench after each "
        "(docs/loop.md). The truth is in no training.",
        "",
        f"`{how}`, {time.strftime('%Y-%m-%d')}, firm-foundry {found['package_version']}; its "
        f"commands were of {_commits(found['commits'])}. {_weights(found, 'judge')}, "
        f"{_weights(found, 'base')}.",
        "",
        f"{size['edits']} edits and {size['pictures']} generated pictures were labelled; "
        f"{size['sft_steps']} steps of SFT; {len(seeds)} of {found['seeds_asked']} seeds. "
        "In brackets: 95% bootstrap intervals, of whole groups.",
        "",
        "## Targets",
        "",
        table_row("target", "", "found"),
        table_rule(3),
        *(
            table_row(one["target"], "met" if one["met"] else "**missed**", one["found"])
            for one in found["targets"]
        ),
    ]
    if not all(one["met"] for one in found["targets"]):
        lines += ["", "What is known of such misses, and was tried: docs/loop.md, Known limits."]
    if len(seeds) > 1:
        lines += ["", "## Mean over the seeds", "", *_means(seeds)]
    for number, seed in enumerate(seeds):
        lines += ["", f"## Seed {number}" if len(seeds) > 1 else "## Figures", "", *_seed(seed)]
    return "\n".join(lines) + "\n"


def _commits(found: Sequence[str]) -> str:
    return f"commit {', '.join(found)}" if found else "no known commit"


def _weights(found: Found, role: str) -> str:
    about = found[role]
    return f"{role.capitalize()}: `{about['model']}`, weights {about['weights'][:12]}"


def _means(seeds: Sequence[Found]) -> list[str]:
    lines = [table_row("", *(f"{axis}: MAE / constant, Spearman" for axis in AXES_TOLD))]
    lines.append(table_rule(1 + len(AXES_TOLD)))
    for model in MODELS:
        cells = []
        for axis in AXES_TOLD:
            some = [seed["models"][model][axis] for seed in seeds]
            ratios = [one["ratio"] for one in some]
            ranks = [rank_value(one["spearman"]) for one in some]
            cells.append(f"{_mean(ratios)}, {_mean(ranks)}")
        lines.append(table_row(TITLES[model], *cells))
    return [*lines, "", "In brackets: the lowest and the highest of the seeds."]


def _mean(values: Sequence[float]) -> str:
    return table_cell([fmean(values), min(values), max(values)])


def _seed(seed: Found) -> list[str]:
    columns = ("n", "failures", "MAE", "best constant", "MAE / constant", "Spearman")
    lines = [
        table_row("axis", "", *columns, "expected MAE", "expected Spearman"),
        table_rule(10),
    ]
    for axis in AXES_TOLD:
        for model in MODELS:
            lines.append(_measured(axis, TITLES[model], seed["models"][model][axis]))
        shuffled = "SFT, pictures of other rows"
        lines.append(_measured(axis, shuffled, seed["shuffled"][axis]))
        lines += [_measured(axis, TITLES[name], seed["labels"][name][axis]) for name in LABELS]
    lines += [
        "",
        "Greedy replies; in MAE a failure counts as the furthest from the truth, Spearman leaves "
        "failures out. Expected: the mean score under the label probabilities of the same reply. "
        "The labels are measured on all rows that were learnt from, the models on those of "
        "ShapeBench.",
    ]
    for a, b in COMPARED:
        lines += ["", f"From {TITLES[a]} to {TITLES[b]}, the same items (paired bootstrap):", ""]
        lines += [table_row("axis", "measure", "n", "before", "after", "change", ""), table_rule(7)]
        verdicts = {"a is better": "worse", "b is better": "better"}
        for d in seed["compared"][f"{a} to {b}"]:
            lines.append(
                table_row(
                    d["slice"], NAMES[d["measure"]], d["n"], table_number(d["a"]),
                    table_number(d["b"]), table_cell(d["difference"]),
                    verdicts.get(d["verdict"], d["verdict"]),
                )
            )  # fmt: skip
    lines += ["", table_row("training", "rows", "what"), table_rule(3)]
    for model, about in seed["trained"].items():
        told = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                         for name, value in about.items() if name != "rows")  # fmt: skip
        lines.append(table_row(TITLES[model], about["rows"], told))
    for model, labels in TAUGHT.items():
        lines += ["", f"Examples seen by {TITLES[model]}: {_examples(seed, model, labels)}."]
    for kind, pairs in seed["pairs"].items():
        lines += ["", f"Pairs of rows of kind {kind}: {_pairs(pairs)}."]
    counts = [
        f"{axis} {TITLES[name]} {seed['labels'][name][axis]['counts']}"
        for axis in AXES_TOLD
        for name in LABELS
    ]
    lines += ["", "Labels of the scores 1 to 5: " + "; ".join(counts) + "."]
    lines += ["", table_row("step", "seconds"), table_rule(2)]
    for name, step in seed["steps"].items():
        cut = f", and {step['cut']} tries cut short" if step["cut"] else ""
        lines.append(table_row(name, f"{step['took_s']:.0f}{cut}"))
    return [*lines, table_row("all", f"{60 * minutes_of(seed):.0f}")]


def _examples(seed: Found, model: str, labels: str) -> str:
    """How many of each axis a training saw: its steps saw the rows of all axes alike."""
    about, rows = seed["trained"][model], seed["labels"][labels]
    times = about["steps"] * about["batch"] / sum(one["n"] for one in rows.values())
    told = each_axis(rows, lambda one: f"{times * one['n']:.0f} from {one['n']} rows")
    return f"{told} (each row about {times:.1f} times)"


def _pairs(found: Found) -> str:
    rollouts, law = found["rollouts"], found["law"]
    asked = ", ".join(f"{name} {value:g}" for name, value in found["asked"].items())
    left = ", ".join(f"{reason} {n}" for reason, n in found["unpaired"].items()) or "none"
    return (
        f"{sum(rollouts.values())} replies ({asked}) about rows with a usable one, "
        f"{rollouts.get('correct', 0)} of them with the label's score; of {law['labelled']} rows "
        f"{law['paired']} gave {law['pairs']} pairs, {law['hard']} had no right reply, "
        f"{law['unpaired']} no pair ({left})"
    )


def _measured(axis: str, title: str, one: Found) -> str:
    expected = one.get("expected") or {"mae": None, "spearman": None}
    return table_row(
        axis, title, one["n"], one.get("failures", ""), table_cell(one["mae"]),
        f"{one['constant']:.2f}", f"{one['ratio']:.2f}", table_cell(one["spearman"]),
        table_cell(expected["mae"]), table_cell(expected["spearman"]),
    )  # fmt: skip
