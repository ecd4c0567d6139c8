"""Training a model of Qwen3-VL-8B's shape: speed, MFU, and memory beside what `--plan` says.

Weights are random and rows are drawn, so nothing is downloaded; recipes, trainer and shape are the
real ones. Each case is a process of its own. `plain` is TRL as it comes: its trainer and defaults,
the same rows, the same LoRA. `--scale tiny` runs the same code on a CPU in a minute.

    python -m bench.train_8b --out FOLDER [--scale tiny] [--steps 30] [--cases lora,plain_lora]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from bench.random_8b import SIZES, write_model
from pipelines.recipe_files import load_recipe
from trainers import sft
from trainers.arguments import trainer_arguments
from trainers.estimates import memory, model_flops
from trainers.models import LORA_TARGETS, load_model, load_processor, lora_config
from trainers.planning import PEAK, batches, how, shape_of, widest
from trainers.rows import open_rows
from trainers.settings import SftRecipe

RECIPES = Path(sft.__file__).parent / "recipes"
# The recipe of a case and what is set over it; `batch` is small so that steps are short, which
# changes nothing on the device but how often the optimiser runs.
CASES = {
    "lora": ("joint_8b_lora_80gb.yaml", {"batch": 8}),
    "plain_lora": ("joint_8b_lora_80gb.yaml", {"batch": 8}),
    "qlora": ("joint_8b_qlora_24gb.yaml", {"batch": 8}),
    "full": ("joint_8b_sft_141gb.yaml", {"batch": 8}),
    "plain_full": ("joint_8b_sft_141gb.yaml", {"batch": 8}),
}
WARM_UP_STEPS = 3


def main() -> None:
    """Run the cases one after the other and print their table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scale", choices=sorted(SIZES), default="8b")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        run_case(options.case, options.out, options.steps)
        return
    model, data = options.out / "model", options.out / "data"
    started = time.monotonic()
    if not (model / "config.json").exists():
        write_model(model, options.scale, data)
    print(f"model and rows: {time.monotonic() - started:.0f} s", flush=True)
    failed = []
    for case in options.cases.split(","):
        (options.out / f"{case}.json").unlink(missing_ok=True)
        words = ["--out", str(options.out), "--steps", str(options.steps), "--case", case]
        done = subprocess.run(
            [sys.executable, "-m", "bench.train_8b", *words], check=False, capture_output=True
        )
        (options.out / f"{case}.log").write_bytes(done.stdout + done.stderr)
        print(f"{case}: exit status {done.returncode}, {time.monotonic() - started:.0f} s")
        sys.stdout.flush()
        failed += [case] * bool(done.returncode)
    print(table(options.out, options.cases.split(",")))
    if failed:
        sys.exit(f"failed, and not for want of memory: {', '.join(failed)}; see their .log")


class Steps(TrainerCallback):
    """Seconds of each step, without what the trainer does before the first."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._since = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The clock starts."""
        self._since = _now()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One step more."""
        now = _now()
        self.seconds.append(now - self._since)
        self._since = now


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()


def run_case(case: str, out: Path, steps: int) -> None:
    """Train so many steps and write `CASE.json`; running out of memory is a result as well."""
    name, over = CASES[case]
    place = {"model": str(out / "model"), "data": str(out / "data"), "output": str(out / case)}
    tiny = {} if torch.cuda.is_available() else {"optimizer": "adamw", "lora.four_bit": False}
    over = {**over, **place, "steps": steps, "log_every_steps": 1, "evaluation.rows": 0}
    over |= {k: v for k, v in tiny.items() if "lora" in name or "lora" not in k}
    recipe = load_recipe(RECIPES / name, SftRecipe, over)
    found: dict[str, Any] = {"case": case, "recipe": name}
    watch = Steps()
    make = plain_trainer if case.startswith("plain") else our_trainer
    try:
        trainer = make(recipe, watch)
        trainer.train()
    except torch.OutOfMemoryError as error:
        found["failed"] = str(error).splitlines()[0]
    rows = open_rows(recipe.data, score_only_share=recipe.score_only_share, seed=recipe.seed)
    looked_at = batches(rows, sft.make_collator(load_processor(recipe)))
    shape = shape_of(recipe)
    if make is our_trainer:
        planned = memory(shape, widest(looked_at, recipe.device_batch), how(recipe, 1))
        found["plan_gb"] = {part: round(size / 1e9, 2) for part, size in planned.items()}
    if "failed" not in found:
        seconds = statistics.median(watch.seconds[WARM_UP_STEPS:])
        tokens = statistics.mean(b.tokens for b in looked_at) * recipe.batch
        flops = statistics.mean(model_flops(shape, b) for b in looked_at) * recipe.batch
        found |= {"step_seconds": seconds, "tokens_a_second": tokens / seconds}
        found |= {"steps": len(watch.seconds), "flops_a_second": flops / seconds}
        found["losses"] = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    if torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
        if "failed" not in found:
            found["mfu"] = found["flops_a_second"] / PEAK
        found["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        found["reserved_gb"] = torch.cuda.max_memory_reserved() / 1e9
    (out / f"{case}.json").write_text(json.dumps(found, indent=1))


def our_trainer(recipe: SftRecipe, watch: TrainerCallback) -> Any:
    """What `python -m trainers.sft` trains with, without checkpoints."""
    rows = open_rows(recipe.data, score_only_share=recipe.score_only_share, seed=recipe.seed)
    arguments = trainer_arguments(recipe, Path(recipe.output), measured=False, resumed=False)
    return sft.make_trainer(
        recipe,
        arguments=arguments | {"save_strategy": "no"},
        model=load_model(recipe),
        peft_config=lora_config(recipe),
        train_dataset=rows.splits["train"],
        processing_class=load_processor(recipe),
        callbacks=[watch],
    )


def plain_trainer(recipe: SftRecipe, watch: TrainerCallback) -> Any:
    """TRL's SFTTrainer by its defaults, on the same conversations."""
    import datasets
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    rows = open_rows(recipe.data, score_only_share=recipe.score_only_share, seed=recipe.seed)
    split = rows.splits["train"]
    names = ("prompt", "completion", "images")
    examples = [{name: split[i][name] for name in names} for i in range(len(split))]
    lora = recipe.lora and LoraConfig(
        r=recipe.lora.rank, lora_alpha=recipe.lora.alpha, target_modules=LORA_TARGETS
    )
    return SFTTrainer(
        model=recipe.model,
        args=SFTConfig(
            output_dir=recipe.output,
            max_steps=recipe.steps or -1,
            max_length=None,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=not torch.cuda.is_available(),
        ),
        train_dataset=datasets.Dataset.from_list(examples),
        peft_config=lora,
        processing_class=load_processor(recipe),
        callbacks=[watch],
    )


def table(out: Path, cases: list[str]) -> str:
    """The results in Markdown."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "case": lambda r: r["case"],
        "s a step": lambda r: f"{r['step_seconds']:.2f}",
        "tokens/s": lambda r: f"{r['tokens_a_second']:,.0f}",
        "MFU": lambda r: f"{r['mfu']:.1%}",
        "peak GB": lambda r: f"{r['peak_gb']:.1f}",
        "plan GB": lambda r: f"{r['plan_gb']['peak']:.1f}",
        "plan/peak": lambda r: f"{r['plan_gb']['peak'] / r['peak_gb']:.2f}",
    }
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for case in cases:
        path = out / f"{case}.json"
        result = json.loads(path.read_text()) if path.exists() else {"case": case}
        cells = []
        for cell in columns.values():
            try:
                cells.append(cell(result))
            except KeyError:
                cells.append("-")
        lines.append("| " + " | ".join(cells) + " |" + (f" {result.get('failed', '')}"))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
