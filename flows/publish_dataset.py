"""Flow `publish-dataset`: a finished build onto the Hugging Face Hub, with its card.

`python -m flows.publish_dataset BUILD --repo-id org/name` does it here, without Prefect: it is one
step, which goes on where it was cut. See `flows.serve` for the deployment.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from prefect import State, flow, get_run_logger
from prefect.states import Failed

from pipelines.build import BuildRefused, locked_build, read_build
from pipelines.card.facts import read_facts
from pipelines.law import LawBroken
from pipelines.publish.folder import LicenceForbids, PathsTold, make_folder, tag_of
from pipelines.publish.hub import PublishFailed, upload

# What a person can mend. Everything else is our bug and crashes with its trace.
KNOWN_ERRORS = (BuildRefused, LawBroken, LicenceForbids, PathsTold, OSError, PublishFailed)
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# No token has a slash, but the name of a dataset may begin like one.
_LIKE_A_TOKEN = re.compile(r"(-[^=]*=)?hf_[^/]*")
NO_TOKEN_HERE = (
    "a token is refused here, and all that begins like one, with hf_: a command line is seen by "
    "everyone on the machine and stays in the shell's history. Run `hf auth login` once, or put "
    "the token into the variable HF_TOKEN."
)


@flow(name="publish-dataset", persist_result=False, validate_parameters=True)
def publish_dataset(
    build: str,
    repo_id: str,
    public: bool = False,
    tag: str | None = None,
    dry_run: bool = False,
    allow_noncommercial: bool = False,
    allow_paths: bool = False,
) -> dict[str, Any] | State:
    """Write `publish/` of a build, and make the Hub's dataset `repo_id` hold exactly that.

    Without a `tag` the state is tagged with the time when the build was finished. Returns the
    folder, the tag and the address on the Hub (None after a dry run), or a failed state whose
    message says what to do. The token is that of the process: `HF_TOKEN` or `hf auth login`.
    """
    try:
        folder, tag, url = publish(
            Path(build),
            repo_id,
            public=public,
            tag=tag,
            dry_run=dry_run,
            allow_noncommercial=allow_noncommercial,
            allow_paths=allow_paths,
            say=get_run_logger().info,
        )
    except KNOWN_ERRORS as error:
        return Failed(message=f"{type(error).__name__}: {error}")
    return {"folder": str(folder), "tag": tag, "url": url}


def publish(
    build: Path,
    repo_id: str,
    *,
    public: bool,
    tag: str | None,
    dry_run: bool,
    allow_noncommercial: bool,
    allow_paths: bool,
    say: Callable[[str], None],
) -> tuple[Path, str, str | None]:
    """The folder that was written, its tag, and where it stands on the Hub, None after a dry run.

    Raises one of KNOWN_ERRORS.
    """
    _check_names(repo_id, tag)
    # Before the lock, which would make a folder of a mistyped name.
    read_build(build)
    with locked_build(build):
        facts = read_facts(build)
        # The card names its tag, so the tag is settled first.
        tag = tag or tag_of(facts)
        folder = make_folder(
            build,
            facts,
            repo_id=repo_id,
            tag=tag,
            allow_noncommercial=allow_noncommercial,
            allow_paths=allow_paths,
            say=say,
        )
        if dry_run:
            say(f"nothing is sent; this state would be tagged {tag}")
            return folder, tag, None
        return folder, tag, upload(folder, repo_id, public=public, tag=tag, say=say)


def _check_names(repo_id: str, tag: str | None) -> None:
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise PublishFailed(f"--repo-id {repo_id}: {error}") from None
    if "/" not in repo_id:
        raise PublishFailed(f"--repo-id {repo_id}: name the owner too, as in my-name/{repo_id}")
    if tag is not None and not _TAG.fullmatch(tag):
        raise PublishFailed(f"--tag {tag!r}: letters, digits, '.', '_' and '-' only, such as v1.0")


app = App(name="python -m flows.publish_dataset", help_flags=["--help", "-h"], version_flags=[])


@app.default
def main(
    build: Path,
    *,
    repo_id: str,
    public: bool = False,
    tag: str | None = None,
    dry_run: bool = False,
    allow_noncommercial: bool = False,
    allow_paths: bool = False,
    token: Annotated[str | None, Parameter(show=False)] = None,
) -> int:
    """Publish a build's dataset on the Hugging Face Hub, privately unless told otherwise.

    Parameters
    ----------
    build
        The build's folder.
    repo_id
        The dataset's name on the Hub, such as my-name/my-edits.
    public
        Let everyone read it.
    tag
        A name for this state of it, such as v1; without, build- and when it was finished (UTC).
    dry_run
        Write the folder with the card, and send nothing.
    allow_noncommercial
        Publish rows whose licence forbids commercial use.
    allow_paths
        Publish rows that name their source by a path of this machine.
    token
        Refused.

    """
    if token is not None:
        print(NO_TOKEN_HERE, file=sys.stderr)  # noqa: T201 - a command's own output
        return 2
    try:
        folder, _, url = publish(
            build,
            repo_id,
            public=public,
            tag=tag,
            dry_run=dry_run,
            allow_noncommercial=allow_noncommercial,
            allow_paths=allow_paths,
            say=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201 - for a person
        )
    except KNOWN_ERRORS as error:
        print(f"\n{error}", file=sys.stderr)  # noqa: T201 - a command's own output
        return 1
    print(url or folder)  # noqa: T201 - a command's own output
    return 0


def run(words: Sequence[str]) -> int:
    """The command with these arguments; one like a token is refused before anything repeats it."""
    if any(_LIKE_A_TOKEN.fullmatch(word) for word in words):
        print(NO_TOKEN_HERE, file=sys.stderr)  # noqa: T201 - a command's own output
        return 2
    return app(words)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
