"""The pictures of an export: what the model saw, each once, named by its sha256."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from pipelines.answers import Row
from pipelines.dataset_reading import Dataset, image_limits, original_bytes
from pipelines.export.conversations import ExportRefused
from pipelines.picture_worker import store
from pipelines.pictures import PictureRejected, prepare_picture
from pipelines.shards import file_sha256

# Pictures of an earlier run that was cut off, until this one needs them.
EARLIER = "earlier"


def set_aside(folder: Path) -> None:
    """Put the pictures that an earlier run left in `images/` where this one looks for them.

    Not left in place: this run may be of another dataset, and need only some of them.
    """
    for path in sorted((folder / "images").rglob("*")):
        if not path.is_file():
            continue
        place = folder / EARLIER / path.name
        place.parent.mkdir(exist_ok=True)
        os.replace(path, place)


def write_picture(
    dataset: Dataset, row: Row, column: str, folder: Path, counts: dict[str, int]
) -> str:
    """Store what the model saw of a picture, named by its sha256. Returns its path in the folder.

    It is the original where the model saw that, else the file that the build keeps; where neither
    is at hand it is prepared again by the function that made it, and counted if its bytes are not
    the same: another version of a decoder, or a published dataset, which does not tell the limits.
    """
    digest, wanted = row[f"{column}_sha256"], row[f"{column}_seen_sha256"]
    data = original_bytes(row, column)
    if digest != wanted:
        data = _kept_by_build(dataset.folder, digest, wanted) or _prepared(
            dataset, row, column, data
        )
    made = sha256(data).hexdigest()
    name = f"images/{made[:2]}/{made}{_extension(data)}"
    if not (folder / name).exists():
        if not _taken_up(folder, name, made):
            store(folder / name, data)
        counts["written"] += 1
        counts["unlike_those_seen"] += made != wanted
    return name


def _taken_up(folder: Path, name: str, digest: str) -> bool:
    """Whether an earlier run left this picture whole; it is then in its place again."""
    place = folder / EARLIER / Path(name).name
    # After a power cut a file may have its length and not its bytes.
    if not place.exists() or file_sha256(place) != digest:
        return False
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    os.replace(place, folder / name)
    return True


def _kept_by_build(folder: Path, digest: str, wanted: str) -> bytes | None:
    """The prepared picture that the build sent; it keeps one for each set of limits."""
    for limits in (folder / "pictures" / "seen").glob("*"):
        try:
            data = (limits / digest[:2] / f"{digest}.jpg").read_bytes()
        except OSError:
            continue
        if sha256(data).hexdigest() == wanted:
            return data
    return None


def _prepared(dataset: Dataset, row: Row, column: str, data: bytes) -> bytes:
    try:
        return prepare_picture(data, image_limits(dataset.folder)).seen or data
    except PictureRejected as error:
        raise ExportRefused(f"row {row['row_id']}, {column}: {error}") from error


def _extension(data: bytes) -> str:
    """By the bytes: what a model sees is a JPEG, PNG or WebP."""
    return ".png" if data[:4] == b"\x89PNG" else ".webp" if data[8:12] == b"WEBP" else ".jpg"
