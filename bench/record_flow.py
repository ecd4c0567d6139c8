"""A flow run that also writes down every body it sends: `record_flow.py BODIES KIND RECIPE`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp

from flows.build_firm_edit import build_firm_edit
from flows.build_firm_gen import build_firm_gen
from flows.command_line import run_in_foreground
from pipelines.recipe import EditRecipe, GenRecipe


def record_posts(file: BinaryIO) -> None:
    """Make every `ClientSession.post` with raw data write that data as one line first."""
    post = aiohttp.ClientSession.post

    def recording(self: aiohttp.ClientSession, url: Any, **options: Any) -> Any:
        data = options.get("data")
        # The start-up probe sends `json=`: it belongs to no row.
        if isinstance(data, bytes):
            file.write(data + b"\n")
        return post(self, url, **options)

    aiohttp.ClientSession.post = recording  # type: ignore[method-assign]


def main() -> int:
    """Run the flow; returns its exit status."""
    bodies, kind, recipe = sys.argv[1:]
    with open(bodies, "wb") as file:
        record_posts(file)
        if kind == "edit":
            return run_in_foreground(build_firm_edit, Path(recipe), EditRecipe, ())
        return run_in_foreground(build_firm_gen, Path(recipe), GenRecipe, ())


if __name__ == "__main__":
    sys.exit(main())
