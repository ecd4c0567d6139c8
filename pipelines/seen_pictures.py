"""What the judge saw of a row's picture, found again from a dataset."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from pipelines.build import Row
from pipelines.dataset_reading import (
    LIMITS,
    DatasetUnreadable,
    image_limits,
    original_bytes,
    told_limits,
)
from pipelines.pictures import PictureRejected, prepare_picture


def seen_bytes(folder: Path, row: Row, column: str) -> bytes:
    """The encoded picture that the judge saw; `folder` is the dataset's.

    It is the original where the judge saw that, else the file that the build keeps; where neither
    is at hand it is prepared again by the function that made it, and need not be the same bytes.
    Raises DatasetUnreadable for a picture that is gone, another one or cannot be prepared.
    """
    digest, wanted = row[f"{column}_sha256"], row[f"{column}_seen_sha256"]
    data = original_bytes(row, column)
    if digest == wanted:
        return data
    if (kept := _kept_by_build(folder, digest, wanted)) is not None:
        return kept
    try:
        return prepare_picture(data, image_limits(folder)).seen or data
    except PictureRejected as error:
        raise DatasetUnreadable(f"row {row['row_id']}, {column}: {error}") from error


def check_limits(folder: Path, row: Row, column: str) -> None:
    """Raises DatasetUnreadable where the judge saw a picture under limits that nobody tells.

    Under limits that are told another version of a decoder may give other bytes.
    """
    made = sha256(seen_bytes(folder, row, column)).hexdigest()
    if made != row[f"{column}_seen_sha256"] and told_limits(folder) is None:
        raise DatasetUnreadable(
            f"row {row['row_id']}, {column}: the judge saw this picture otherwise than the default "
            "limits make it, and the dataset does not tell its own. Put them into "
            f'{folder / LIMITS}, such as {{"max_side_px": 1024}}, or take the build'
        )


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
