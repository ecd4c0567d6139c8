"""From the JSON of a request to items that can be scored, or to why they cannot.

A request that is no request is refused whole (`BadRequest`); a fault of one item is that item's
alone. No detail tells a path of this machine.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

from pipelines.build import PICTURES, Kind
from pipelines.export.formats import reserved_word
from pipelines.picture_refs import read_reference, resolve_path
from pipelines.pictures import PictureRejected, prepare_picture
from pipelines.rendering import AXES
from pipelines.settings import ImageLimits

LONGEST_TEXT = 20_000
# Of a task: its kind, the axes that are scored (None: that of generated pictures), and its text.
TASKS: Mapping[str, tuple[Kind, tuple[str | None, ...]]] = {
    "edit": ("edit", AXES),
    **{f"edit_{axis}": ("edit", (axis,)) for axis in AXES},
    "gen": ("gen", (None,)),
}
_TEXT: Mapping[Kind, str] = {"edit": "instruction", "gen": "prompt"}


class BadRequest(Exception):
    """A request that is none; the message says what is wrong with it."""


class BadItem(Exception):
    """An item that cannot be scored: `reason`, a code for counting, and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class RawItem:
    """What a request says is to be scored, its text and its `pictures` not looked at yet.

    `before` are pictures that need no look any more, those that come first.
    """

    kind: Kind
    axes: tuple[str | None, ...]
    text: Any
    pictures: tuple[Any, ...] = field(repr=False)
    before: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Item:
    """What is to be scored: `text` is the prompt or the instruction, `pictures` as `stage_question`
    takes them.
    """

    kind: Kind
    axes: tuple[str | None, ...]
    text: str
    pictures: tuple[Mapping[str, Any], ...] = field(repr=False)


def items_of(request: Any, *, most: int) -> list[Any]:
    """The items of a request, not looked at yet. Raises BadRequest."""
    if not isinstance(request, dict) or not isinstance(request.get("items"), list):
        raise BadRequest("a request is an object with a list of 'items'")
    if unknown := sorted(set(request) - {"items", "deadline_s"}):
        raise BadRequest(f"no such field: {', '.join(unknown)[:200]}")
    items = request["items"]
    if not items or len(items) > most:
        raise BadRequest(f"{len(items)} items; a request has 1 to {most}")
    return items


def deadline_of(request: Mapping[str, Any], longest: float) -> float:
    """Seconds that a request may take, at most `longest`. Raises BadRequest."""
    wanted = request.get("deadline_s", longest)
    if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not wanted > 0:
        raise BadRequest("deadline_s is a number of seconds above 0")
    return float(min(wanted, longest))


def raw_item(value: Any) -> RawItem:
    """An item of its JSON, looked at from outside alone. Raises BadItem."""
    if not isinstance(value, dict):
        raise BadItem("item:not_an_object", "an item is an object with 'task', text and pictures")
    task = value.get("task")
    if not isinstance(task, str) or task not in TASKS:
        raise BadItem("item:task", f"task is one of {', '.join(TASKS)}")
    kind, axes = TASKS[task]
    wanted = {"task", _TEXT[kind], *PICTURES[kind]}
    if wrong := sorted(set(value) ^ wanted):
        raise BadItem(
            "item:fields", f"{task} has {', '.join(sorted(wanted))}; not: {wrong[0][:80]}"
        )
    pictures = tuple(value[name] for name in PICTURES[kind])
    return RawItem(kind=kind, axes=axes, text=value[_TEXT[kind]], pictures=pictures)


def read_item(raw: RawItem, *, limits: ImageLimits, files: str | None = None) -> Item:
    """Check an item and prepare its pictures, which takes some milliseconds.

    `files` is the real path of the folder whose pictures may be named by path. Raises BadItem.
    """
    check_text(raw.kind, raw.text)
    names = PICTURES[raw.kind][len(raw.before) :]
    seen = [
        read_picture(name, value, limits=limits, files=files)
        for name, value in zip(names, raw.pictures, strict=True)
    ]
    return Item(kind=raw.kind, axes=raw.axes, text=raw.text, pictures=(*raw.before, *seen))


def check_text(kind: Kind, text: Any) -> None:
    """Raises BadItem for what is no prompt, or no instruction."""
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_TEXT:
        told = f"{_TEXT[kind]} is a text of 1 to {LONGEST_TEXT} characters"
        raise BadItem("item:text", told)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadItem("item:text", f"{_TEXT[kind]} is not Unicode text") from error
    # A judge would read what comes after it as somebody else's turn.
    if token := reserved_word("trl", [text]):
        raise BadItem("item:text", f"{_TEXT[kind]} has {token}, a token of the chat template")


def read_picture(
    name: str, value: Any, *, limits: ImageLimits, files: str | None = None
) -> Mapping[str, Any]:
    """A picture as `stage_question` takes it, of bytes, base64 text, a path or a `file://` URL.

    Raises BadItem.
    """
    if not isinstance(value, str | bytes):
        raise BadItem("picture:not_a_picture", f"{name} is base64 text, or a path")
    try:
        data = _data_of(value, limits.max_bytes, files)
        prepared = prepare_picture(data, limits)
    except PictureRejected as error:
        # Details name paths, and say which files there are.
        detail = error.detail if not error.reason.startswith("picture:outside") else "not allowed"
        inside = files is None or files not in detail
        raise BadItem(error.reason, f"{name}: {detail if inside else 'no such picture'}") from error
    except OSError as error:
        raise BadItem("picture:missing", f"{name}: no such picture") from error
    seen = prepared.seen if prepared.seen is not None else data
    return {
        "seen_sha256": sha256(seen).hexdigest(),
        "seen_path": "",
        "seen_format": prepared.seen_format,
        "seen_data": seen,
    }


def _data_of(value: str | bytes, most: int, files: str | None) -> bytes:
    """The encoded picture. Raises PictureRejected, OSError."""
    path = _path_of_url(value) if isinstance(value, str) else None
    if path is not None:
        return _read_file(resolve_path(path, files), most)
    ref = read_reference(value, root=files, allow_http=False)
    return ref.data if ref.data is not None else _read_file(ref.path or "", most)


def _path_of_url(text: str) -> str | None:
    """The path of a `file://` URL of this machine; None for anything else."""
    if text[:7].lower() != "file://":
        return None
    host, slash, path = text[7:].partition("/")
    return unquote(slash + path) if host.lower() in ("", "localhost") else None


def _read_file(path: str, most: int) -> bytes:
    """The bytes of a file, if it is one and has no more than it may.

    Nothing is waited for, as the other end of a pipe would be. Raises PictureRejected, OSError.
    """
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise PictureRejected("picture:missing", "no file")
        if facts.st_size > most:
            raise PictureRejected(
                "picture:too_large", f"{facts.st_size} bytes, over max_bytes {most}"
            )
        return file.read(most)
