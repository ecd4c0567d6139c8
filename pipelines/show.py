"""One finished row in a form that a person can read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

import pyarrow.parquet as pq

from pipelines.replies import SCORES

WIDTH = 96
_PICTURES = ("image", "source_image", "edited_image")


def dataset_rows(build: Path) -> Iterator[dict[str, Any]]:
    """The rows of a build's dataset, with the names of their pictures and not the pictures."""
    for path in sorted((build / "dataset").glob("*.parquet")):
        file = pq.ParquetFile(path)
        names = [f"{n}.path" if n in _PICTURES else n for n in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=100, columns=names):
            yield from batch.to_pylist()


def format_row(row: dict[str, Any], kind: str) -> str:
    """A dataset row as text: what was asked, what the judge wrote, the score and its spread."""
    lines = _gen_lines(row) if kind == "gen" else _edit_lines(row)
    lines += [_wrapped("reasoning", row["reasoning"]), f"  score       {row['score']} of 5"]
    if row["score_probs"]:
        probs = "  ".join(f"{s}: {p:.2f}" for s, p in zip(SCORES, row["score_probs"], strict=True))
        lines.append(f"  distribution  {probs}  (expected {row['score_expected']:.2f})")
    if len(row["vote_scores"]) > 1:
        lines.append(f"  votes       {row['vote_scores']}, spread {row['vote_spread']:.2f}")
    pictures = [Path(row[name]["path"]).name for name in _PICTURES if name in row]
    lines.append(f"  pictures    {', '.join(pictures)} of {row['source']}")
    lines.append(
        f"  made by     {row['model']}, {row['prompt_id']} {row['prompt_sha256'][:8]}, "
        f"{row['attempts']} attempt(s), {row['completion_tokens']} tokens"
    )
    return "\n".join([f"row {row['row_id']}", *lines])


def _gen_lines(row: dict[str, Any]) -> list[str]:
    lines = [_wrapped("prompt", row["prompt"]), "  checklist"]
    for item, verdict in zip(row["checklist"], row["verdicts"], strict=True):
        critical = "critical" if item["critical"] else "lesser"
        lines.append(_wrapped(f"  {verdict['id']} {verdict['verdict']}", item["question"]))
        lines.append(_wrapped("", f"({item['kind']}, {critical}) {verdict['evidence']}"))
    return lines


def _edit_lines(row: dict[str, Any]) -> list[str]:
    report = "\n".join("      " + line for line in row["report"].splitlines())
    lines = [_wrapped("instruction", row["instruction"]), "  differences", report]
    return [*lines, f"  axis        {row['axis']}"]


def _wrapped(name: str, text: str) -> str:
    return fill(
        text or "",
        WIDTH,
        initial_indent=f"  {name:<11} ",
        subsequent_indent=" " * 14,
        max_lines=4,
        placeholder=" ...",
    )
