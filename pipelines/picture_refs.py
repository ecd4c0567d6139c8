"""Where a row's picture is: in a file under the image root, in the row itself, or at a URL.

A reference is checked here before anything is opened: a path must not leave the image root, and a
URL is refused unless the recipe allows it. Nothing here touches the network.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from pipelines.pictures import SIGNATURES, PictureRejected

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")
# Nothing is tried twice: with ordinary repeats, two of which take spaces, time would be quadratic.
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]++={0,2}+\s*+", re.ASCII)
_SPACES = b" \t\n\r\f\v"
# No path is longer (PATH_MAX), and none that is shorter starts with a picture's signature.
_LONGEST_PATH = 4096


@dataclass(frozen=True, kw_only=True)
class PictureRef:
    """One picture of one row; exactly one of `path`, `data` and `url` is set unless it is at fault.

    `path` is absolute with all symlinks resolved. `raw_sha256` is of the value in the source: the
    picture's own bytes, or the text of the path or URL.
    """

    raw_sha256: str
    path: str | None = None
    data: bytes | None = field(default=None, repr=False)
    url: str | None = None


def read_reference(value: Any, *, root: str | None, allow_http: bool) -> PictureRef:
    """Make a reference of bytes, a path, a URL, base64 text or an Image struct {bytes, path}.

    `root` is the folder that paths are relative to and must stay in; None allows no path at all.

    Raises: PictureRejected with `source:missing_value`, `picture:empty`, `picture:missing`,
    `picture:not_a_picture`, `picture:outside_root` or `picture:remote_not_allowed`.
    """
    if isinstance(value, dict):
        inside = value.get("bytes")
        if isinstance(inside, str):
            inside = _decode_base64(inside)
        value = inside if inside is not None else value.get("path")
    if value is None:
        raise PictureRejected("source:missing_value", "no picture")
    if isinstance(value, bytes | bytearray | memoryview):
        return _of_bytes(bytes(value))
    if not isinstance(value, str):
        raise PictureRejected(
            "picture:not_a_picture", f"a {type(value).__name__} is neither bytes nor a path"
        )
    if value[:5].lower() == "data:":
        head, comma, body = value.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise PictureRejected("picture:not_a_picture", "a data: URL that is not base64")
        return _of_bytes(_decode_base64(body))
    if _looks_like_base64(value):
        return _of_bytes(_decode_base64(value))
    raw = raw_sha256(value)
    if _URL.match(value):
        if not (allow_http and value.lower().startswith(("http://", "https://"))):
            raise PictureRejected(
                "picture:remote_not_allowed", f"{value[:200]}; see images.allow_http"
            )
        if not value.isascii():
            raise PictureRejected("picture:missing", f"{value[:200]!r}: a URL is ASCII text")
        return PictureRef(raw_sha256=raw, url=value)
    return PictureRef(raw_sha256=raw, path=resolve_path(value, root))


def resolve_path(path: str, root: str | None) -> str:
    """The real path of a file under `root`, which must be a real path itself.

    Raises: PictureRejected `picture:outside_root` for `..`, absolute paths and symlinks that leave
    the root; `picture:missing` for text that can be no path.
    """
    if not path.strip():
        raise PictureRejected("picture:missing", "the path is empty")
    if root is None:
        raise PictureRejected("picture:outside_root", f"{path[:200]}: the source has no image root")
    try:
        path.encode("utf-8")
        real = os.path.realpath(os.path.join(root, path))
    except (ValueError, OSError) as error:
        raise PictureRejected("picture:missing", f"{path[:200]!r} is no path: {error}") from error
    if not real.startswith(root.rstrip(os.sep) + os.sep):
        raise PictureRejected("picture:outside_root", f"{path[:200]} leads out of {root}")
    return real


def raw_sha256(value: Any) -> str:
    """Identity of a value that could not be made a reference: sha256 of its bytes or its text."""
    if isinstance(value, dict):
        value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
    data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return sha256(data).hexdigest()


def _of_bytes(data: bytes) -> PictureRef:
    if not data:
        raise PictureRejected("picture:empty", "0 bytes")
    return PictureRef(raw_sha256=sha256(data).hexdigest(), data=data)


def _looks_like_base64(text: str) -> bool:
    """Base64 text of a picture, as opposed to a path (JPEG's base64 starts with '/9j/')."""
    if len(text) < 40 or not _BASE64.fullmatch(text):
        return False
    if len(text) > _LONGEST_PATH:
        return True
    try:
        start = _decode_base64(text[:40])
    except PictureRejected:
        return False
    return any(signature.match(start) for signature in SIGNATURES)


def _decode_base64(text: str) -> bytes:
    try:
        # Of bytes, because a text's pieces between spaces would each be an object.
        compact = text.encode("ascii").translate(None, _SPACES).rstrip(b"=")
        padded = compact + b"=" * (-len(compact) % 4)
        return base64.b64decode(padded.replace(b"-", b"+").replace(b"_", b"/"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureRejected("picture:not_a_picture", f"not base64: {error}") from error
