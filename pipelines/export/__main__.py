"""Command `export`: `python -m pipelines.export SOURCE --format trl --out DIR`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.types import NormFloat

from pipelines.dataset_reading import DatasetUnreadable, open_dataset
from pipelines.export.conversations import ExportRefused
from pipelines.export.formats import Format, how_to_load
from pipelines.export.write import export_dataset, part_of

app = App(name="python -m pipelines.export", help_flags=["--help", "-h"], version_flags=[])


@app.default
def main(
    source: Path,
    *,
    format: Format,
    out: Path,
    splits: Annotated[tuple[str, ...], Parameter(name="--split", negative="")] = (),
    prompts: Annotated[tuple[str, ...], Parameter(name="--prompt", negative="")] = (),
    score_only_share: NormFloat = 0.2,
    seed: int = 0,
) -> int:
    """Write a dataset as conversations that another trainer reads.

    Parameters
    ----------
    source
        A finished build, or a folder with the Parquet files of a dataset.
    format
        Which trainer's.
    out
        The folder to make.
    splits
        A split to export, may be repeated; all of them if left out.
    prompts
        A student's prompt to ask with, such as judge_edit.v1; the one with reasoning and the one
        for the score alone if left out.
    score_only_share
        Share of the rows that are exported without reasoning.
    seed
        Another seed takes other rows for it.

    """
    try:
        dataset = open_dataset(source)
        told = export_dataset(
            dataset,
            out,
            form=format,
            splits=splits,
            prompt_ids=prompts,
            share=score_only_share,
            seed=seed,
        )
    except (DatasetUnreadable, ExportRefused, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's own output
        if (part := part_of(out)).exists():
            kept = f"{part} keeps the pictures written so far; the same command goes on with them"
            print(kept, file=sys.stderr)  # noqa: T201 - a command's own output
        return 1
    rows = ", ".join(f"{split} {n}" for split, n in told["rows"].items())
    asked = ", ".join(f"{prompt} {facts['rows']}" for prompt, facts in told["prompts"].items())
    lines = [f"{out}: {rows} rows, {told['pictures']['written']} pictures ({asked})"]
    lines += [
        f"{n} rows left out: they contain {word}, which {format} takes for something else"
        for word, n in told["left_out"].items()
    ]
    if unlike := told["pictures"]["unlike_those_seen"]:
        lines.append(
            f"{unlike} pictures prepared anew are not those that the judge saw, bit by bit"
        )
    lines.append(f"load it: {how_to_load(format, dataset.kind, list(told['rows']), str(out))}")
    print("\n".join(lines))  # noqa: T201 - a command's own output
    return 0


if __name__ == "__main__":
    sys.exit(app())
