"""Difference reports against the pixels: what cannot be true, whatever the pictures show."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling
from skimage.metrics import structural_similarity
from skimage.registration import phase_cross_correlation

from pipelines.rendering import NO_DIFFERENCES

# Small: noise and compression average out, and a pair takes milliseconds.
SIDE_PX = 64
_CHANGED_BELOW = 0.5
_ANOTHER_COLOUR = 64
_LONGEST_SHIFT = SIDE_PX // 8


def changed_share(source: Image.Image, edited: Image.Image) -> float:
    """Share of the area in which two pictures differ in structure, 0 to 1.

    Both are scaled to SIDE_PX squared and laid over each other where they fit best; changed is
    where their structural similarity (Wang et al. 2004) is below 0.5, or a colour is a quarter of
    its range away. A shift, compression or a little light change nearly nothing; a crop, or noise
    on a picture that is small itself, does.
    """
    before, after = (_small(picture) for picture in (source, edited))
    shift = phase_cross_correlation(before.mean(axis=2), after.mean(axis=2))[0].astype(int)
    if np.abs(shift).max() > _LONGEST_SHIFT:
        shift = np.zeros(2, int)
    after = np.roll(after, shift, axis=(0, 1))
    found = structural_similarity(before, after, channel_axis=2, data_range=255, full=True)
    alike = np.asarray(found[1])
    apart = np.abs(before - after)
    changed = np.logical_or(alike < _CHANGED_BELOW, apart > _ANOTHER_COLOUR).any(axis=2)
    # What a shift brought in from the other side was never there.
    rows, columns = (slice(max(0, n), SIDE_PX + min(0, n)) for n in shift)
    return float(np.asarray(changed)[rows, columns].mean())


def _small(picture: Image.Image) -> NDArray[np.float64]:
    small = picture.convert("RGB").resize((SIDE_PX, SIDE_PX), Resampling.BOX)
    return np.asarray(small, np.float64)


def find_ungrounded(row: dict[str, Any], *, most_unreported: float) -> str | None:
    """What a report says that the pixels rule out, None for nothing.

    `row` is of `dataset/`, with its pictures still as they stand in `rows/`. A report of changes is
    ruled out by two equal pictures, one of no change by a `changed_share` over `most_unreported`.
    Reads the pictures in the second case alone. Raises OSError when one is gone.
    """
    source, edited = row["source_image"], row["edited_image"]
    equal = source["seen_sha256"] == edited["seen_sha256"]
    if row["report"] != NO_DIFFERENCES:
        return "the report names changes, and the pictures are equal" if equal else None
    if equal:
        return None
    with Image.open(source["seen_path"]) as before, Image.open(edited["seen_path"]) as after:
        share = changed_share(before, after)
    if share > most_unreported:
        return f"the report found no change, and {share:.0%} of the picture changed"
    return None
