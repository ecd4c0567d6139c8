"""Small pictures for the page: WebP, once a picture, made smaller until all fit a budget."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from typing import TypedDict

from PIL import Image

from pipelines.pictures import PictureLimits, prepare_picture

LARGEST_PX, SMALLEST_PX = 768, 24
# What a pixel of an easy photograph takes, and what lets one be encoded with high quality.
FEWEST_BYTES_A_PIXEL, PLENTY_A_PIXEL = 0.08, 0.18
QUALITY, HIGH_QUALITY = 65, 85


class Thumbnail(TypedDict):
    """`data` is WebP in base64; `of` is the original's width and height. Sizes in pixels."""

    data: str
    width: int
    height: int
    of: tuple[int, int]


def make_thumbnail(data: bytes, bytes_each: int) -> Thumbnail:
    """A small upright copy of an encoded picture, which takes near `bytes_each` or more.

    Raises PictureRejected for bytes that are no picture.
    """
    side_px = int(math.sqrt(max(bytes_each, 1) / FEWEST_BYTES_A_PIXEL))
    side_px = max(SMALLEST_PX, min(LARGEST_PX, side_px))
    limits = PictureLimits(max_side_px=side_px, max_pixels=side_px**2, max_aspect_ratio=1000.0)
    made = prepare_picture(data, limits)
    size = (made.width, made.height) if made.orientation < 5 else (made.height, made.width)
    plenty = made.image.width * made.image.height * PLENTY_A_PIXEL <= bytes_each
    return _encode(made.image, size, HIGH_QUALITY if plenty else QUALITY)


def _encode(image: Image.Image, of: tuple[int, int], quality: int) -> Thumbnail:
    out = io.BytesIO()
    image.save(out, "WEBP", quality=quality, method=4)
    text = base64.b64encode(out.getvalue()).decode("ascii")
    return {"data": text, "width": image.width, "height": image.height, "of": of}


def fit_thumbnails(made: Mapping[str, Thumbnail], budget: int) -> dict[str, Thumbnail]:
    """The same pictures, all scaled down alike until they take at most `budget` bytes.

    Empty where even the smallest do not fit.
    """
    fitted = dict(made)
    side_px = max((max(t["width"], t["height"]) for t in fitted.values()), default=0)
    while (taken := bytes_taken(fitted)) > budget:
        side_px = int(side_px * max(0.5, 0.95 * math.sqrt(max(budget, 1) / taken)))
        if side_px < SMALLEST_PX:
            return {}
        fitted = {name: _shrink(thumbnail, side_px) for name, thumbnail in fitted.items()}
    return fitted


def bytes_taken(thumbnails: Mapping[str, Thumbnail]) -> int:
    """Bytes in the page, names and sizes included."""
    return sum(len(t["data"]) + 120 for t in thumbnails.values())


def _shrink(thumbnail: Thumbnail, side_px: int) -> Thumbnail:
    if max(thumbnail["width"], thumbnail["height"]) <= side_px:
        return thumbnail
    with Image.open(io.BytesIO(base64.b64decode(thumbnail["data"]))) as image:
        small = image.convert("RGB")
    small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return _encode(small, thumbnail["of"], QUALITY)
