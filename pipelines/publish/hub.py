"""A folder onto the Hugging Face Hub: bounded commits, gone on with after a cut, then a tag.

The token is huggingface_hub's business: `HF_TOKEN` or `hf auth login`. It is never in our hands.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    DatasetCard,
    DatasetCardData,
    HfApi,
    get_token,
)
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import disable_progress_bars, sha
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from pipelines.card.write import TAG
from pipelines.publish.hub_errors import explain, http_cause, in_a_line, may_pass, wait_s
from pipelines.shards import file_sha256

R = TypeVar("R")
FILES_A_COMMIT = 100
BYTES_A_COMMIT = 10_000_000_000
ATTEMPTS = 8
# What a publish puts into a repository; whatever else stands there is none of its business.
OUR_FILES = ("README.md", "scores.png")
OUR_FOLDERS = ("data/", "asked_with/")
# What a new repository holds by itself.
_BY_ITSELF = frozenset({".gitattributes"})
# The Hub keeps smaller files in git itself, under their git id, if they are text.
_MOST_BYTES_IN_GIT = 10_000_000


class PublishFailed(Exception):
    """The Hub did not take it; the message says why and what to do. What went up is kept."""


@dataclass(frozen=True, kw_only=True)
class Repo:
    """A dataset repository, how to talk to it, and how to talk to a person meanwhile."""

    api: HfApi
    id: str
    say: Callable[[str], None]

    def call(self, method: str, **arguments: Any) -> Any:
        """One request to the Hub about this repository, repeated while that can help."""
        send = getattr(self.api, method)
        return self.patiently(lambda: send(repo_id=self.id, repo_type="dataset", **arguments))

    def patiently(self, work: Callable[[], R]) -> R:
        """Do some work, again after 429, 5xx and broken connections. Raises the last error."""
        retrying = Retrying(
            retry=retry_if_exception(may_pass),
            wait=wait_s,
            stop=stop_after_attempt(ATTEMPTS),
            before_sleep=self._tell,
            reraise=True,
        )
        return retrying(work)

    def _tell(self, state: RetryCallState) -> None:
        error = http_cause(state.outcome.exception()) if state.outcome else None
        seconds = state.next_action.sleep if state.next_action else 0.0
        self.say(f"the Hub: {in_a_line(error)}; again in {seconds:.0f} s")


@dataclass(frozen=True, kw_only=True)
class Local:
    """The folder, and for each file by its path in the repository what the Hub may know it by."""

    folder: Path
    sha256: Mapping[str, str]
    git_id: Mapping[str, str]


def upload(
    folder: Path,
    repo_id: str,
    *,
    public: bool,
    tag: str,
    say: Callable[[str], None],
    files_a_commit: int = FILES_A_COMMIT,
) -> str:
    """Make a dataset repository hold this folder, and nothing older of ours. Returns its address.

    What is there already is not sent again. A new repository is private until the end, and its
    first commit marks it as ours. Then come the data, in one commit the card and the removal of
    what an earlier publish left, and the tag. Raises PublishFailed.
    """
    if get_token() is None:
        raise PublishFailed(
            "no token for the Hub: run `hf auth login`, or put one into the variable HF_TOKEN"
        )
    repo = Repo(api=HfApi(), id=repo_id, say=say)
    bars: AbstractContextManager[Any] = nullcontext()
    if not sys.stderr.isatty():
        bars = disable_progress_bars()
    try:
        with bars:
            return _upload(folder, repo, public=public, tag=tag, files_a_commit=files_a_commit)
    except PublishFailed:
        raise
    except Exception as error:
        message = explain(error, repo_id=repo_id, endpoint=repo.api.endpoint)
        if message is None:
            raise
        raise PublishFailed(message) from None


def _upload(folder: Path, repo: Repo, *, public: bool, tag: str, files_a_commit: int) -> str:
    card = DatasetCard.load(folder / "README.md")
    try:
        repo.patiently(card.validate)
    except ValueError as error:
        raise PublishFailed(f"the Hub refuses the card: {error}") from None
    private, marked = _open(repo, public=public)
    repo.say(f"comparing {folder} with {repo.id}")
    local = _read(folder)
    missing, surplus = repo.patiently(lambda: _compare(local, repo))
    _check_tag(repo, tag, changed=bool(missing or surplus))
    if not marked:
        repo.patiently(lambda: _mark(repo, card))
    data = [path for path in missing if path.startswith("data/")]
    done = 0
    for batch in _batches(data, folder, files_a_commit):
        repo.patiently(lambda batch=batch: _commit(repo, local, batch, [], "Data"))
        done += len(batch)
        repo.say(f"uploaded {done} of {len(data)} data files")
    repo.patiently(lambda: _finish(repo, local))
    head = repo.call("repo_info").sha
    repo.call("create_tag", tag=tag, revision=head, exist_ok=True)
    if public and private:
        repo.call("update_repo_settings", private=False)
    return f"{repo.api.endpoint}/datasets/{repo.id}/tree/{tag}"


def _open(repo: Repo, *, public: bool) -> tuple[bool, bool]:
    """Find the repository, or make it, privately. Returns whether it is private, and marked.

    Raises PublishFailed for one that is public unasked, or that somebody else filled: it holds
    files, and no card with our tag.
    """
    try:
        info = repo.call("repo_info")
    except RepositoryNotFoundError:
        info = None
    if info is None:
        repo.call("create_repo", private=True, exist_ok=True)
        return True, False
    if not public and not info.private:
        raise PublishFailed(
            f"{repo.id} is public: say --public, or make it private in its settings first"
        )
    names = {sibling.rfilename for sibling in info.siblings or ()} - _BY_ITSELF
    marked = "README.md" in names and TAG in (info.tags or ())
    if names and not marked:
        raise PublishFailed(
            f"{repo.id} holds files that were not published from here ({sorted(names)[0]}): take "
            "another name, so that none of them is overwritten or removed"
        )
    return bool(info.private), marked


def _mark(repo: Repo, card: DatasetCard) -> None:
    """Put a stub of the card in an empty repository, so that a cut upload is known as ours."""
    names = {name: card.data.get(name) for name in ("license", "license_name")}
    header = DatasetCardData(**names, tags=[TAG])
    stub = f"---\n{header.to_yaml()}\n---\n\nThis dataset is being uploaded; its card comes last.\n"
    repo.api.create_commit(
        repo.id,
        [CommitOperationAdd("README.md", stub.encode())],
        commit_message="Begin",
        repo_type="dataset",
    )


def _check_tag(repo: Repo, tag: str, *, changed: bool) -> None:
    tags = {ref.name: ref.target_commit for ref in repo.call("list_repo_refs").tags}
    if tag in tags and (changed or tags[tag] != repo.call("repo_info").sha):
        raise PublishFailed(
            f"{repo.id} has a tag {tag} already, of another state of its rows, its card or other "
            "files: give another one with --tag, as people may have loaded that one"
        )


def _read(folder: Path) -> Local:
    paths = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    small = {n: p for n, p in paths.items() if p.stat().st_size < _MOST_BYTES_IN_GIT}
    return Local(
        folder=folder,
        sha256={name: file_sha256(paths[name]) for name in sorted(paths)},
        git_id={name: sha.git_hash(path.read_bytes()) for name, path in small.items()},
    )


def _compare(local: Local, repo: Repo) -> tuple[list[str], list[str]]:
    """Paths that the repository lacks or has otherwise, and those of ours that are too many."""
    tree = repo.api.list_repo_tree(repo.id, recursive=True, repo_type="dataset")
    files = {file.path: file for file in tree if isinstance(file, RepoFile)}

    def is_there(path: str) -> bool:
        file = files.get(path)
        if file is None:
            return False
        if file.lfs is not None:
            return file.lfs.sha256 == local.sha256[path]
        return file.blob_id == local.git_id.get(path)

    missing = [path for path in local.sha256 if not is_there(path)]
    ours = [path for path in files if path in OUR_FILES or path.startswith(OUR_FOLDERS)]
    return missing, [path for path in ours if path not in local.sha256]


def _batches(paths: list[str], folder: Path, most_files: int) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for path in paths:
        n_bytes = (folder / path).stat().st_size
        if batch and (len(batch) == most_files or size + n_bytes > BYTES_A_COMMIT):
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += n_bytes
    if batch:
        yield batch


def _finish(repo: Repo, local: Local) -> None:
    # Compared anew each time: a commit may have gone through though its answer was lost.
    missing, surplus = _compare(local, repo)
    if missing or surplus:
        _commit(repo, local, missing, surplus, "Card")


def _commit(repo: Repo, local: Local, paths: list[str], old: list[str], message: str) -> None:
    # New operations each time: those of a failed commit remember what is no longer so.
    operations: list[Any] = [CommitOperationDelete(path) for path in old]
    for path in paths:
        operation = CommitOperationAdd(path, local.folder / path)
        operation.upload_info.sha256 = bytes.fromhex(local.sha256[path])
        operations.append(operation)
    try:
        repo.api.create_commit(repo.id, operations, commit_message=message, repo_type="dataset")
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        raise PublishFailed(f"the Hub refuses a commit: {error}") from None
