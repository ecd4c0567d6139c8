"""Which code made a row: the package version and the git commit, where there is one."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def package_version() -> str:
    """Version of the installed package, `0+unknown` when it runs uninstalled."""
    try:
        return version("firm-foundry")
    except PackageNotFoundError:
        return "0+unknown"


def git_commit() -> str | None:
    """Commit of the checkout this code runs from, with `-dirty` for local changes, else None."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--match="],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


@cache
def code_version() -> dict[str, str | None]:
    """Provenance columns about the code: `package_version` and `git_commit`."""
    return {"package_version": package_version(), "git_commit": git_commit()}
