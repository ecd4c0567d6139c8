"""The pictures of an export: what the model saw, each once, named by its sha256."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from pipelines.build import Row
from pipelines.dataset_reading import Dataset
from pipelines.picture_worker import store
from pipelines.seen_pictures import seen_bytes
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

    One that had to be prepared again is counted if its bytes are not the same: another version of a
    decoder, or a dataset that does not tell the limits.
    """
    data = seen_bytes(dataset.folder, row, column)
    made = sha256(data).hexdigest()
    name = f"images/{made[:2]}/{made}{_extension(data)}"
    if not (folder / name).exists():
        if not _taken_up(folder, name, made):
            store(folder / name, data)
        counts["written"] += 1
        counts["unlike_those_seen"] += made != row[f"{column}_seen_sha256"]
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


def _extension(data: bytes) -> str:
    """By the bytes: what a model sees is a JPEG, PNG or WebP."""
    return ".png" if data[:4] == b"\x89PNG" else ".webp" if data[8:12] == b"WEBP" else ".jpg"
