"""From a finished build to a folder that is, file for file, what stands on the Hub.

`publish/` in the build holds the card with its pictures, the prompts and schemas that were asked
with, and the dataset's Parquet files as hard links, so that nothing takes disk twice.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipelines.card.facts import Facts
from pipelines.card.histograms import draw_scores
from pipelines.card.licenses import forbids_commerce, is_unknown
from pipelines.card.markdown import count
from pipelines.card.write import make_card
from pipelines.dataset_reading import LIMITS
from pipelines.pictures import PictureLimits
from pipelines.shards import sync_folder

_LIMITS = tuple(field.name for field in fields(PictureLimits))


class LicenceForbids(Exception):
    """Rows whose licence forbids what a publish is for; the message names their sources."""


class PathsTold(Exception):
    """Rows that name their source by a path of this machine; the message names those paths."""


def tag_of(facts: Facts) -> str:
    """The tag of a build that was given none: when it was finished, `build-20261127T095919`."""
    return "build-" + re.sub(r"[^0-9T]", "", facts.manifest["finished_at"])


def make_folder(
    build: Path,
    facts: Facts,
    *,
    repo_id: str,
    tag: str,
    allow_noncommercial: bool,
    allow_paths: bool,
    say: Callable[[str], None],
) -> Path:
    """Write `publish/` of a build anew from its facts, whole or not at all. Returns its path.

    What a person should know before others can read it is told through `say`.
    Raises LicenceForbids, PathsTold.
    """
    _check_licenses(facts, allow_noncommercial)
    _check_paths(facts, allow_paths)
    for warning in warnings_of(facts):
        say(f"warning: {warning}")
    final, fresh = build / "publish", build / ".publish.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        _fill(fresh, facts, repo_id=repo_id, tag=tag)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(final, ignore_errors=True)
    os.rename(fresh, final)
    sync_folder(build)
    return final


def _fill(folder: Path, facts: Facts, *, repo_id: str, tag: str) -> None:
    (folder / "data").mkdir()
    for paths in facts.files.values():
        for path in paths:
            _link(path, folder / "data" / path.name)
    for name, data in facts.asked_with.items():
        path = folder / "asked_with" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    images = facts.manifest["recipe"]["images"]
    limits = {name: images[name] for name in _LIMITS if name in images}
    (folder / LIMITS).write_text(json.dumps(limits, indent=1) + "\n")
    if scores := facts.manifest.get("scores"):
        (folder / "scores.png").write_bytes(draw_scores(scores))
    make_card(facts, repo_id=repo_id, tag=tag).save(folder / "README.md")


def _link(source: Path, target: Path) -> None:
    """A second name for a file; a copy where the disk has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _check_licenses(facts: Facts, allow_noncommercial: bool) -> None:
    forbidding = {key: n for key, n in facts.licenses.items() if forbids_commerce(key[1])}
    if forbidding and not allow_noncommercial:
        lines = [f"  {source}: {name}, {count(n)} rows" for (source, name), n in forbidding.items()]
        raise LicenceForbids(
            "some rows may not be used commercially:\n"
            + "\n".join(lines)
            + "\nLeave those sources out and run the build again, or publish all the same with "
            "--allow-noncommercial; the card then lists them."
        )


def _check_paths(facts: Facts, allow_paths: bool) -> None:
    paths = paths_of(facts)
    if paths and not allow_paths:
        raise PathsTold(
            "rows name their source by a path of this machine:\n"
            + "\n".join(f"  {path}" for path in paths)
            + "\nGive those sources a `name:` in the recipe and run the flow again (nothing is "
            "asked anew), or publish all the same with --allow-paths."
        )


def paths_of(facts: Facts) -> list[str]:
    """The paths of this machine that stand in the column `source`: where the recipe has no name."""
    unnamed = {
        s["path"] for s in facts.manifest["recipe"]["sources"] if not s.get("name") and _local(s)
    }
    named = {source for source, _ in facts.licenses}
    return sorted(source for source in named if source in unnamed or Path(source).is_absolute())


def _local(source: Mapping[str, Any]) -> bool:
    path = source["path"]
    if source["kind"] != "datasets" or Path(path).is_absolute() or path.startswith("."):
        return True
    # Of a dataset on the Hub the name has one slash at most, and no such folder is here.
    return path.count("/") > 1 or Path(path).is_dir()


def warnings_of(facts: Facts) -> list[str]:
    """What everyone who can read the dataset will see or miss, for the person who publishes it."""
    found = []
    unknown = {source: n for (source, name), n in facts.licenses.items() if is_unknown(name)}
    if unknown:
        found.append(
            f"the licence of {count(sum(unknown.values()))} rows is not known "
            f"({', '.join(unknown)}), and the card says so; "
            "a source's `license` in the recipe states it"
        )
    return found
