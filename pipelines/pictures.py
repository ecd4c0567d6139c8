"""Pictures as a model sees them: upright RGB, one frame, within limits, proven decodable.

Needs only pillow: the factory, the trainers and the reward server prepare pictures with this one
function, so that they all show the model the same thing. No pillow setting is changed here.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass, field
from typing import Literal, Protocol

from PIL import Image, UnidentifiedImageError
from PIL.Image import Resampling, Transpose

from pipelines.picture_modes import to_rgb

# What decoders we let loose on unknown bytes. Formats that run other programs (EPS, WMF) or have
# no signature (TGA) are not among them.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
PASS_THROUGH = ("JPEG", "PNG", "WEBP")
JPEG_QUALITY = 95
ORIENTATION_TAG = 0x0112

SIGNATURES = (
    re.compile(rb"\xff\xd8\xff"),
    re.compile(rb"\x89PNG\r\n\x1a\n"),
    re.compile(rb"RIFF....WEBP", re.DOTALL),
    re.compile(rb"GIF8[79]a"),
    re.compile(rb"II\*\x00|MM\x00\*"),
    re.compile(rb"....ftyp(avif|avis|mif1)", re.DOTALL),
    re.compile(rb"\x00\x00\x00\x0cjP  "),
    re.compile(rb"BM.{4}\x00\x00\x00\x00", re.DOTALL),
)

_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


class PictureRejected(Exception):
    """A picture that the model will not see. `reason` is a code such as `picture:truncated`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class Limits(Protocol):
    """What `prepare_picture` asks of its limits: `recipe.ImageLimits` and `PictureLimits` fit."""

    @property
    def max_side_px(self) -> int: ...  # noqa: D102 - see recipe.ImageLimits
    @property
    def max_pixels(self) -> int: ...  # noqa: D102 - see recipe.ImageLimits
    @property
    def over_limit(self) -> Literal["scale", "reject"]: ...  # noqa: D102 - see recipe.ImageLimits
    @property
    def max_source_pixels(self) -> int: ...  # noqa: D102 - see recipe.ImageLimits
    @property
    def max_aspect_ratio(self) -> float: ...  # noqa: D102 - see recipe.ImageLimits
    @property
    def max_bytes(self) -> int: ...  # noqa: D102 - see recipe.ImageLimits


@dataclass(frozen=True, kw_only=True)
class PictureLimits:
    """The limits of `recipe.ImageLimits`, with its defaults, where pydantic is not at hand."""

    max_side_px: int = 1536
    max_pixels: int = 1_600_000
    over_limit: Literal["scale", "reject"] = "scale"
    max_source_pixels: int = 100_000_000
    max_aspect_ratio: float = 20.0
    max_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A picture that passed: facts of the original, and what the model sees.

    `width` and `height` are the original's as its header states them. `orientation` is the EXIF
    value, 1 to 8. `frames` is 2 for any number above one. `seen` is the encoded picture for the
    model, or None when the original bytes are to be sent as they are. `image` is the same picture
    decoded: RGB uint8 (seen_height, seen_width, 3).
    """

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    frames: int
    notes: tuple[str, ...]
    seen: bytes | None = field(repr=False)
    seen_format: str
    seen_width: int
    seen_height: int
    image: Image.Image = field(repr=False, compare=False)


def prepare_picture(data: bytes, limits: Limits | None = None) -> Prepared:
    """Decode an encoded picture into upright RGB within limits; encode it again only if it must be.

    An upright single-frame 8-bit RGB JPEG, PNG or WebP within the limits passes through unencoded.
    Anything else becomes a JPEG (quality 95, 4:4:4): first frame, alpha over white, never enlarged.
    Size and aspect ratio are checked on the header, before pixels are decoded.

    Raises: PictureRejected with `picture:` and one of `empty`, `too_large`, `not_a_picture`,
    `truncated`, `bomb`, `aspect_ratio`, `over_limit`.
    """
    limits = limits or PictureLimits()
    if not data:
        raise PictureRejected("picture:empty", "0 bytes")
    if len(data) > limits.max_bytes:
        raise PictureRejected(
            "picture:too_large", f"{len(data)} bytes, over max_bytes {limits.max_bytes}"
        )
    with _open(data, limits) as image:
        facts = {"format": image.format or "", "mode": image.mode}
        width, height = image.size
        target = _check_header(width, height, limits)
        frames = 2 if _is_animated(image) else 1
        deep = _has_16_bit_samples(image)
        orientation, pixels = _decode(image, target)
        notes = ["first_frame"] if frames > 1 else []
        if deep:
            notes.append("16_bit_to_8")
        rgb = _rgb(pixels, notes)
        if target != (width, height):
            rgb = rgb.resize(target, Resampling.LANCZOS, reducing_gap=3.0)
            notes.append("scaled")
        # TIFF comes out of pillow's decoder upright already; the note is due all the same.
        if (still := _orientation(image)) in _UPRIGHT:
            rgb = rgb.transpose(_UPRIGHT[still])
        orientation = max(orientation, still)
        if orientation > 1:
            notes.append("exif_rotated")
    unencoded = not notes and facts["format"] in PASS_THROUGH
    return Prepared(
        **facts,
        width=width,
        height=height,
        orientation=orientation,
        frames=frames,
        notes=tuple(notes),
        seen=None if unencoded else _encode(rgb),
        seen_format=facts["format"] if unencoded else "JPEG",
        seen_width=rgb.width,
        seen_height=rgb.height,
        image=rgb,
    )


def size_within(width: int, height: int, *, max_side_px: int, max_pixels: int) -> tuple[int, int]:
    """The largest size of the same aspect ratio within both limits, never above the given one."""
    scale = min(1.0, max_side_px / max(width, height), math.sqrt(max_pixels / (width * height)))
    if scale == 1.0:
        return width, height
    w, h = round(width * scale), round(height * scale)
    if w * h > max_pixels:
        w, h = int(width * scale), int(height * scale)
    # Only a strip less than a pixel wide is still over: its short side cannot shrink any more.
    w, h = max(1, w), max(1, h)
    return (min(w, max_pixels // h), h) if w >= h else (w, min(h, max_pixels // w))


def _open(data: bytes, limits: Limits) -> Image.Image:
    """The picture with its header read and no pixel decoded."""
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureRejected("picture:bomb", str(error)) from error
    except UnidentifiedImageError as error:
        if any(signature.match(data) for signature in SIGNATURES):
            detail = f"{len(data)} bytes that start like a picture, but no header can be read"
            raise PictureRejected("picture:truncated", detail) from error
        detail = f"{len(data)} bytes starting {data[:8]!r} are none of {', '.join(FORMATS)}"
        raise PictureRejected("picture:not_a_picture", detail) from error
    except MemoryError:
        raise
    except Exception as error:
        raise PictureRejected("picture:truncated", _say(error)) from error


def _check_header(width: int, height: int, limits: Limits) -> tuple[int, int]:
    """Refuse by size alone; else the size that the model will see, in the stored orientation."""
    if width < 1 or height < 1:
        raise PictureRejected("picture:not_a_picture", f"{width} x {height} pixels")
    if width * height > limits.max_source_pixels:
        detail = f"{width} x {height} is over max_source_pixels {limits.max_source_pixels}"
        raise PictureRejected("picture:bomb", detail)
    if max(width, height) > limits.max_aspect_ratio * min(width, height):
        detail = f"{width} x {height} is over max_aspect_ratio {limits.max_aspect_ratio:g}"
        raise PictureRejected("picture:aspect_ratio", detail)
    target = size_within(
        width, height, max_side_px=limits.max_side_px, max_pixels=limits.max_pixels
    )
    if target != (width, height) and limits.over_limit == "reject":
        detail = (
            f"{width} x {height} is over max_side_px {limits.max_side_px} "
            f"or max_pixels {limits.max_pixels}"
        )
        raise PictureRejected("picture:over_limit", detail)
    return target


def _decode(image: Image.Image, target: tuple[int, int]) -> tuple[int, Image.Image]:
    """Decode all pixels of the first frame. Returns the orientation before decoding, and `image`.

    A JPEG that will be scaled down is decoded at 1/2, 1/4 or 1/8 where that is still large enough.
    """
    try:
        orientation = _orientation(image)
        if target != image.size:
            image.draft(None, target)
        image.load()
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureRejected("picture:bomb", str(error)) from error
    except Exception as error:
        raise PictureRejected("picture:truncated", _say(error)) from error
    return orientation, image


def _rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        return to_rgb(image, notes)
    except MemoryError:
        raise
    except Exception as error:  # Pillow asserts where a palette is missing, for one.
        detail = f"a picture of mode {image.mode} cannot be made RGB: {error}"
        raise PictureRejected("picture:not_a_picture", detail) from error


def _encode(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return out.getvalue()


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - a picture with broken EXIF is still a picture
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _is_animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 - a broken second frame says nothing of the first
        return True


def _has_16_bit_samples(image: Image.Image) -> bool:
    """Whether pillow will drop low bytes of a 16-bit colour picture while decoding (RGB;16B)."""
    if image.mode.startswith("I"):
        return False
    return any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
