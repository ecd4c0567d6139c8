"""Is a second making of the bundled judge as good as the first? Both cards, side by side.

    python -m foundry.evals.remade models/again

Prints a table in Markdown. Returns 1 where an F1 or a share of right replies of the second is more
than two points of a hundred worse or better, or something was measured of one alone, 2 where a card
cannot be read.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from foundry.evals.markdown import table_row, table_rule
from pipelines.shards import file_sha256

BUNDLED = Path("foundry/shapeworld/judge")
WITHIN = 0.02
_ERROR = "score MAE"
_HEAD = "| asked | n | "
_FACTS = ("made by", "code", "time", "torch")
# Measures by what was asked and the column of the card.
Measures = dict[tuple[str, str], float]


def read_card(card: str) -> tuple[dict[str, str], Measures]:
    """The facts of a card and what it measured, shares as parts of one. Raises ValueError."""
    lines = iter(card.splitlines())
    facts = {}
    for line in lines:
        if line.startswith(_HEAD):
            return facts, dict(_measures(line, lines))
        cells = _cells(line)
        if len(cells) == 2:
            facts[cells[0]] = cells[1]
    raise ValueError("has no table of what was asked")


def _measures(head: str, lines: Iterator[str]) -> Iterator[tuple[tuple[str, str], float]]:
    names = _cells(head)[2:]
    for line in lines:
        kind, *values = _cells(line) or [""]
        if not kind:
            return
        for name, value in zip(names, values[1:], strict=True):
            if value.strip("-"):
                share = value.endswith("%")
                yield (kind, name), float(value.rstrip("%")) / (100 if share else 1)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []


def compare(first: Path, second: Path) -> tuple[str, bool]:
    """Two makings side by side, and whether both measured the same, each F1 and share within two
    points.

    Raises OSError or ValueError when a card or its weights cannot be read.
    """
    cards = [read_card((folder / "README.md").read_text("utf-8")) for folder in (first, second)]
    digests = [file_sha256(folder / "model.safetensors")[:16] for folder in (first, second)]
    (facts, was), (new_facts, now) = cards
    apart = {key: abs(now[key] - was[key]) for key in was if key in now}
    alone = sorted(was.keys() ^ now.keys())
    same = digests[0] == digests[1]
    compared = [key for key in apart if key[1] != _ERROR]
    if not compared:
        raise ValueError("the two cards measured different things")
    furthest = max(compared, key=lambda key: apart[key])
    lines = [
        "# The bundled judge, made twice",
        "",
        f"`python -m foundry.evals.remade FOLDER`, {time.strftime('%Y-%m-%d')}; the second making "
        "is the judge in that folder.",
        "",
        table_row("", "committed", "second making"),
        table_rule(3),
        table_row("weights, sha256", *digests),
        *(table_row(name, facts.get(name, "-"), new_facts.get(name, "-")) for name in _FACTS),
        "",
        "The weights are the same to the bit."
        if same
        else f"Furthest apart: {furthest[0]}, {furthest[1]}, by {apart[furthest]:.3f}.",
        "",
        table_row("asked", "measure", "committed", "second making", "apart"),
        table_rule(5),
        *(
            table_row(*key, f"{was[key]:.3f}", f"{now[key]:.3f}", f"{apart[key]:.3f}")
            for key in apart
        ),
    ]
    if alone:
        told = "; ".join(", ".join(key) for key in alone)
        lines += ["", f"Measured of one of the two alone: {told}."]
    return "\n".join(lines) + "\n", apart[furthest] <= WITHIN and not alone


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: the folder of the second training. Returns 0, 1 or 2 as said above."""
    parser = argparse.ArgumentParser(description="Compare a second making of the judge.")
    parser.add_argument("again", type=Path, metavar="AGAIN", help="folder of the second training")
    again = parser.parse_args(argv).again / "judge"
    try:
        text, within = compare(BUNDLED, again)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{again}: {error}\n")
        return 2
    sys.stdout.write(text)
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
