"""What one worker process of the picture pool does: read, hash, prepare and store pictures.

Started by `picture_pool`, which talks to it over a socket. It ends when that socket or its standard
input closes, so a parent killed with -9 leaves no worker behind.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import urllib.error
import urllib.request
import warnings
from dataclasses import asdict, dataclass
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from PIL import Image

from pipelines.identity import digest as canonical_digest
from pipelines.picture_hash import colour_signature, perceptual_hash
from pipelines.picture_refs import PictureRef
from pipelines.pictures import PictureLimits, PictureRejected, prepare_picture

PREPARE_VERSION = 1
HTTP_TIMEOUT_S = 30.0
HTTP_TRIES = 3
EXTENSIONS = {"JPEG": "jpg", "JPEG2000": "jp2", "MPO": "jpg", "TIFF": "tif"}


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What every picture of a run has in common: the build's folder, limits, leave to download."""

    build_dir: str
    limits: PictureLimits
    allow_http: bool = False


def learn_picture(ref: PictureRef, place: Workplace) -> dict[str, Any]:
    """Everything a row says of a picture (`picture_table.PICTURE_TYPE`), plus `seen_bytes_size`.

    Stores, under the build's `pictures/`, the prepared version where the model will not see the
    original itself, and the original where it is not a file on this disk.

    Raises: PictureRejected; its `sha256` attribute is the content's, or None if it was not read.
    OSError when the build's folder cannot be written.
    """
    data = _read(ref, place)
    digest = sha256(data).hexdigest()
    try:
        ready = prepare_picture(data, place.limits)
    except PictureRejected as error:
        error.sha256 = digest  # type: ignore[attr-defined]
        raise
    pictures = Path(place.build_dir) / "pictures"
    path = ref.path
    if path is None:
        extension = EXTENSIONS.get(ready.format, ready.format.lower())
        path = store(pictures / "originals" / digest[:2] / f"{digest}.{extension}", data)
    seen_path, seen_sha256 = path, digest
    if ready.seen is not None:
        folder = pictures / "seen" / limits_digest(place.limits) / digest[:2]
        seen_path = store(folder / f"{digest}.jpg", ready.seen)
        seen_sha256 = sha256(ready.seen).hexdigest()
    return {
        "sha256": digest,
        "path": path,
        "bytes_size": len(data),
        "format": ready.format,
        "mode": ready.mode,
        "width": ready.width,
        "height": ready.height,
        "notes": list(ready.notes),
        "phash": perceptual_hash(ready.image),
        "colour": colour_signature(ready.image),
        "seen_sha256": seen_sha256,
        "seen_path": seen_path,
        "seen_format": ready.seen_format,
        "seen_width": ready.seen_width,
        "seen_height": ready.seen_height,
        "seen_bytes_size": len(data if ready.seen is None else ready.seen),
    }


def limits_digest(limits: PictureLimits) -> str:
    """8 hex digits naming what decides how a picture is prepared."""
    return canonical_digest([PREPARE_VERSION, asdict(limits)])[:8]


def store(path: Path, data: bytes) -> str:
    """Write a content-addressed file unless it stands there in full. Returns its path."""
    try:
        if path.stat().st_size == len(data):
            return str(path)
    except OSError:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        # No sync: after a power cut the size check above, or the next run's, finds what is missing.
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return str(path)


def _read(ref: PictureRef, place: Workplace) -> bytes:
    if ref.data is not None:
        return ref.data
    if ref.path is not None:
        return _read_file(ref.path, place.limits.max_bytes)
    if not place.allow_http:
        raise PictureRejected("picture:remote_not_allowed", f"{ref.url}; see images.allow_http")
    return _download(str(ref.url), place.limits.max_bytes)


def _read_file(path: str, max_bytes: int) -> bytes:
    try:
        # O_NONBLOCK: a named pipe put in a picture's place must not stop the worker for good.
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise PictureRejected(
                    "picture:too_large", f"{path}: {size} bytes, over max_bytes {max_bytes}"
                )
            return file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        raise PictureRejected("picture:missing", f"{path}: {error}") from error


def _download(url: str, max_bytes: int) -> bytes:
    """GET within a size and a time; servers' own faults and lost connections are tried again."""
    # Only these handlers: a redirect must not lead to file:// or ftp://.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    trouble: Exception | None = None
    for attempt in range(HTTP_TRIES):
        time.sleep(attempt)
        try:
            return _get(opener, url, max_bytes)
        except urllib.error.HTTPError as error:
            trouble = error
            if error.code < 500 and error.code != 429:
                break
        except (OSError, ValueError, EOFError) as error:
            trouble = error
        except Exception as error:  # noqa: BLE001 - http.client has its own for garbled replies
            trouble = error
            break
    raise PictureRejected("picture:missing", f"{url}: {trouble}")


def _get(opener: urllib.request.OpenerDirector, url: str, max_bytes: int) -> bytes:
    request = urllib.request.Request(url, headers={"User-Agent": "firm-foundry"})
    deadline = time.monotonic() + HTTP_TIMEOUT_S
    with opener.open(request, timeout=HTTP_TIMEOUT_S) as reply:  # type: ignore[union-attr]
        chunks, size = [], 0
        while chunk := reply.read1(1 << 16):
            chunks.append(chunk)
            size += len(chunk)
            if size > max_bytes:
                # Left to prepare_picture, which refuses it by size.
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"not finished after {HTTP_TIMEOUT_S:g} s")
    return b"".join(chunks)


def main(handle: int) -> None:
    """Serve references arriving on an inherited socket until it closes."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _be_first_to_go()
    connection = Connection(handle)
    place: Workplace = connection.recv()
    # This process is ours: here pillow's own limit can follow the recipe's.
    Image.MAX_IMAGE_PIXELS = place.limits.max_source_pixels
    warnings.simplefilter("ignore")
    connection.send(("ready", None))
    while True:
        try:
            ref = connection.recv()
        except EOFError:
            return
        connection.send(_answer(ref, place))


def _answer(ref: PictureRef, place: Workplace) -> tuple[str, Any]:
    try:
        return "learnt", learn_picture(ref, place)
    except PictureRejected as error:
        return "rejected", (error.reason, error.detail, getattr(error, "sha256", None))
    except MemoryError:
        # As if the kernel had killed us: the pool decides whether the picture gets a second try.
        os._exit(1)
    except Exception as error:  # noqa: BLE001 - raised again in the parent
        where = ref.path or ref.url or f"picture sha256 {ref.raw_sha256}"
        return "failed", error if isinstance(error, OSError) else RuntimeError(
            f"{where}: {error!r}"
        )


def _exit_with_parent() -> None:
    # A raw read: a buffered one holds a lock that the interpreter wants at its own exit.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(0)


def _be_first_to_go() -> None:
    """When memory runs out, the kernel should end this process and not the one with the run."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("700")
