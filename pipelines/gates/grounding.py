"""Difference reports against the pixels: what cannot be true, whatever the pictures show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling
from skimage.metrics import structural_similarity
from skimage.registration import phase_cross_correlation

from pipelines.picture_hash import colour_distance
from pipelines.rendering import NO_DIFFERENCES

Found = TypeVar("Found")
# Small: noise and compression average out, and a pair takes milliseconds.
SIDE_PX = 64
_CHANGED_BELOW = 0.5
_ANOTHER_COLOUR = 64
_LONGEST_SHIFT = SIDE_PX // 8
# As far apart as photographs and their JPEG or WebP of quality 75 came to be (docs/gates.md).
_RESAVED_COLOUR = 2
_RESAVED_LEVELS = 2
_RESAVED_SHARPNESS = 0.1
# What compression changes is spread; a spot on pictures that are equal elsewhere stands out, by
# so many times the mean and so many levels.
_STANDS_OUT = 50
_STANDS_OUT_LEVELS = 0.5
_JPEG_BLOCK_PX = 8


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


def are_one_picture(source: Image.Image, edited: Image.Image) -> bool:
    """Whether nothing but compression tells two pictures apart.

    So it is where they are of one size and equally sharp, and their means over parts of at least
    eight pixels, at most 64 a side, are less than two levels of 255 apart in light and colour,
    without a part that stands out from the others. A spot or line that a person can see, a blur or
    grain is a difference.
    """
    if source.size != edited.size:
        return False
    parts = min(SIDE_PX, max(1, min(source.size) // _JPEG_BLOCK_PX))
    # Chroma is stored at half the size.
    sides = (parts, max(1, parts // 2), max(1, parts // 2))
    channels = [picture.convert("RGB").convert("YCbCr").split() for picture in (source, edited)]
    for before, after, side in zip(*channels, sides, strict=True):
        apart = np.abs(_means(before, side) - _means(after, side))
        spread = max(_STANDS_OUT_LEVELS, _STANDS_OUT * apart.mean())
        if apart.max() >= _RESAVED_LEVELS or apart.max() > spread:
            return False
    sharp, other = (_sharpness(light) for light, *_ in channels)
    return abs(sharp - other) <= _RESAVED_SHARPNESS * max(sharp, other)


def _means(channel: Image.Image, side: int) -> NDArray[np.float32]:
    # As floats: a change of less than a level shows by how it is spread.
    return np.asarray(channel.convert("F").resize((side, side), Resampling.BILINEAR))


def _sharpness(light: Image.Image) -> float:
    """Root mean square of the steps from pixel to pixel, in levels."""
    levels = np.asarray(light, np.float32)
    steps = (np.diff(levels, axis=axis) for axis in (0, 1))
    return float(np.sqrt(sum(float(np.square(step).sum()) for step in steps) / levels.size))


def find_ungrounded(row: dict[str, Any], *, most_unreported: float) -> str | None:
    """What a report says that the pixels rule out, None for nothing.

    `row` is of `dataset/`, with its pictures still as they stand in `rows/`. A report of changes is
    ruled out by two pictures that `are_one_picture`, one of no change by a `changed_share` over
    `most_unreported`. Reads pictures where their colours do not decide it. Raises OSError
    when one is gone.
    """
    source, edited = row["source_image"], row["edited_image"]
    equal = source["seen_sha256"] == edited["seen_sha256"]
    if row["report"] != NO_DIFFERENCES:
        # Few edits are so near, so that few pictures are read. A hash is no help: compression turns
        # many bits of a flat or symmetric picture's.
        near = colour_distance(source["colour"], edited["colour"]) <= _RESAVED_COLOUR
        if equal or (near and _of_pair(are_one_picture, source, edited)):
            return "the report names changes, and the pictures are equal"
        return None
    if equal:
        return None
    share = _of_pair(changed_share, source, edited)
    if share > most_unreported:
        return f"the report found no change, and {share:.0%} of the picture changed"
    return None


def _of_pair(
    compare: Callable[[Image.Image, Image.Image], Found],
    source: dict[str, Any],
    edited: dict[str, Any],
) -> Found:
    """What comes of comparing two pictures as the model sees them."""
    with Image.open(source["seen_path"]) as before, Image.open(edited["seen_path"]) as after:
        return compare(before, after)
