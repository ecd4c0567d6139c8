"""Pictures: what the model sees of them, and what is refused."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipelines.picture_hash import colour_distance, colour_signature, hash_distance, perceptual_hash
from pipelines.pictures import PictureLimits, PictureRejected, prepare_picture, size_within
from pipelines.settings import ImageLimits

# Pillow says aloud what it thinks of broken pictures, which are what this file is about.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]
LIMITS = PictureLimits(max_side_px=256, max_pixels=40_000)
ORIENTATION = 0x0112


def drawn(width: int = 60, height: int = 40) -> Image.Image:
    """A smooth picture with four distinct corners: red, green, blue, white."""
    corners = Image.new("RGB", (2, 2))
    corners.putdata([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)])
    return corners.resize((width, height), Image.Resampling.BILINEAR)


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def refusal(data: bytes, limits: PictureLimits = LIMITS) -> str:
    with pytest.raises(PictureRejected) as caught:
        prepare_picture(data, limits)
    assert caught.value.detail
    return caught.value.reason


def mean_difference(a: Image.Image, b: Image.Image) -> float:
    assert a.size == b.size
    left, right = a.convert("RGB").tobytes(), b.convert("RGB").tobytes()
    return sum(abs(x - y) for x, y in zip(left, right, strict=True)) / len(left)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_an_upright_rgb_picture_within_limits_passes_through_unencoded(format: str):
    ready = prepare_picture(encoded(drawn(), format), LIMITS)
    assert ready.seen is None
    assert ready.notes == ()
    assert (ready.seen_format, ready.seen_width, ready.seen_height) == (format, 60, 40)
    assert ready.image.mode == "RGB"


@pytest.mark.parametrize("format", ["BMP", "GIF", "TIFF", "AVIF", "PPM", "JPEG2000"])
def test_another_format_is_encoded_for_the_model(format: str):
    ready = prepare_picture(encoded(drawn(), format), LIMITS)
    assert ready.format == format
    assert ready.seen is not None
    with Image.open(io.BytesIO(ready.seen)) as seen:
        assert (seen.format, seen.mode, seen.size) == ("JPEG", "RGB", (60, 40))
        assert mean_difference(seen, drawn()) < 10


def test_what_the_model_sees_is_a_jpeg_without_chroma_subsampling():
    ready = prepare_picture(encoded(drawn(), "BMP"), LIMITS)
    with Image.open(io.BytesIO(ready.seen or b"")) as seen:
        assert [part[1:3] for part in seen.layer] == [(1, 1)] * 3
        assert max(seen.quantization[0]) < 15


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_rotation_is_applied_once_and_noted(orientation: int, format: str):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(drawn(), format, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    ready = prepare_picture(data, LIMITS)
    assert ready.orientation == orientation
    assert "exif_rotated" in ready.notes
    assert mean_difference(ready.image, upright) < 1
    assert (ready.seen_width, ready.seen_height) == upright.size
    again = prepare_picture(ready.seen or b"", LIMITS)
    assert again.notes == ()
    assert mean_difference(again.image, upright) < 6


def test_a_rotated_picture_over_the_limits_is_scaled_and_upright():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encoded(drawn(1600, 400), "JPEG", exif=exif, quality=95)
    ready = prepare_picture(data, LIMITS)
    assert (ready.seen_width, ready.seen_height) == (64, 256)
    assert (ready.width, ready.height) == (1600, 400)
    expected = drawn(1600, 400).transpose(Image.Transpose.ROTATE_270).resize((64, 256))
    assert mean_difference(ready.image, expected) < 3


def test_broken_exif_does_not_cost_the_picture():
    data = encoded(drawn(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xffgarbage")
    assert prepare_picture(data, LIMITS).orientation == 1


def test_cmyk_becomes_rgb():
    data = encoded(drawn().convert("CMYK"), "JPEG", quality=95)
    ready = prepare_picture(data, LIMITS)
    assert ready.notes == ("cmyk_to_rgb",)
    assert mean_difference(ready.image, drawn()) < 8


def test_sixteen_bit_grey_is_scaled_and_not_clipped():
    image = Image.new("I;16", (3, 1))
    for x, value in enumerate((0, 32768, 65535)):
        image.putpixel((x, 0), value)
    ready = prepare_picture(encoded(image), LIMITS)
    assert "16_bit_to_8" in ready.notes
    assert [ready.image.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [
        ("F", (0.0, 0.5, 1.0), (0, 128, 255)),
        ("F", (0.0, 128.0, 255.0), (0, 128, 255)),
        ("F", (-1.0, 0.0, 1.0), (0, 128, 255)),
        ("I", (0, 100, 255), (0, 100, 255)),
        ("I", (0, 32768, 65535), (0, 128, 255)),
    ],
)
def test_wide_samples_are_brought_to_the_smallest_usual_range_that_holds_them(
    mode: str, values: tuple[float, ...], expected: tuple[int, ...]
):
    image = Image.new(mode, (3, 1))
    for x, value in enumerate(values):
        image.putpixel((x, 0), value)
    ready = prepare_picture(encoded(image, "TIFF"), LIMITS)
    assert tuple(ready.image.getpixel((x, 0))[0] for x in range(3)) == expected


def png_of_16_bit_rgb(pixel: tuple[int, int, int], alpha: int | None = None) -> bytes:
    """A 1 x 1 PNG with 16 bits a sample, which pillow cannot write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    samples = pixel if alpha is None else (*pixel, alpha)
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2 if alpha is None else 6, 0, 0, 0)
    body = zlib.compress(b"\0" + struct.pack(f">{len(samples)}H", *samples))
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_sixteen_bit_colour_is_noted_and_encoded_with_eight():
    ready = prepare_picture(png_of_16_bit_rgb((65535, 32768, 0)), LIMITS)
    assert ready.notes == ("16_bit_to_8",)
    assert ready.image.getpixel((0, 0)) == (255, 128, 0)
    assert ready.seen is not None
    clear = prepare_picture(png_of_16_bit_rgb((0, 0, 0), alpha=0), LIMITS)
    assert clear.notes == ("16_bit_to_8", "alpha_over_white")
    assert clear.image.getpixel((0, 0)) == (255, 255, 255)


def half_clear(mode: str) -> bytes:
    """A black picture, its left half fully transparent."""
    alpha = Image.new("L", (40, 20), 255)
    alpha.paste(0, (0, 0, 20, 20))
    image = Image.new("RGB" if mode == "RGBA" else "L", (40, 20))
    image.putalpha(alpha)
    assert image.mode == mode
    return encoded(image)


def half_clear_palette() -> bytes:
    image = Image.new("P", (40, 20), 0)
    image.putpalette([0, 0, 0, 0, 0, 0])
    image.paste(1, (0, 0, 20, 20))
    return encoded(image, transparency=1)


def half_clear_grey_by_key() -> bytes:
    image = Image.new("L", (40, 20), 0)
    image.paste(7, (0, 0, 20, 20))
    return encoded(image, transparency=7)


@pytest.mark.parametrize(
    "data",
    [half_clear("RGBA"), half_clear("LA"), half_clear_palette(), half_clear_grey_by_key()],
    ids=["RGBA", "LA", "palette", "grey key"],
)
def test_transparency_of_any_kind_lies_over_white(data: bytes):
    ready = prepare_picture(data, LIMITS)
    assert "alpha_over_white" in ready.notes
    assert ready.image.getpixel((5, 10)) == (255, 255, 255)
    assert ready.image.getpixel((35, 10)) == (0, 0, 0)


def test_a_palette_picture_without_its_palette_is_rejected():
    data = encoded(drawn().quantize(4))
    start = data.index(b"PLTE") - 4
    length = int.from_bytes(data[start : start + 4], "big")
    with pytest.raises(PictureRejected, match="picture:"):
        prepare_picture(data[:start] + data[start + 12 + length :], LIMITS)


def test_a_palette_without_transparency_becomes_rgb():
    ready = prepare_picture(encoded(drawn().quantize(64)), LIMITS)
    assert ready.notes == ("palette_to_rgb",)
    assert mean_difference(ready.image, drawn()) < 12


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_of_an_animation_the_first_frame_is_seen(format: str):
    later = Image.new("RGB", (60, 40), "black")
    options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    data = encoded(drawn(), format, save_all=True, append_images=[later, later], **options)
    ready = prepare_picture(data, LIMITS)
    assert ready.frames == 2
    assert "first_frame" in ready.notes
    assert ready.seen is not None
    assert mean_difference(ready.image, drawn()) < 12


def test_a_picture_over_the_limits_is_scaled_or_refused_as_told():
    data = encoded(drawn(500, 300), "JPEG")
    ready = prepare_picture(data, LIMITS)
    assert (ready.seen_width, ready.seen_height) == (256, 154)
    assert ready.notes == ("scaled",)
    rejecting = PictureLimits(max_side_px=256, max_pixels=40_000, over_limit="reject")
    assert refusal(data, rejecting) == "picture:over_limit"


def test_a_large_jpeg_decoded_at_a_fraction_looks_like_one_decoded_in_full():
    image = Image.effect_mandelbrot((1500, 1125), (-2, -1.2, 1, 1.2), 60).convert("RGB")
    ready = prepare_picture(encoded(image, "JPEG", quality=95), LIMITS)
    full = image.resize((ready.seen_width, ready.seen_height), Image.Resampling.LANCZOS)
    assert mean_difference(ready.image, full) < 1


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises this size and whose pixels are not there."""
    data = bytearray(encoded(Image.new("1", (8, 8))))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def test_a_decompression_bomb_is_refused_by_its_header():
    # The pixels are missing: had they been decoded, the reason would be another.
    assert refusal(bomb(50_000, 50_000)) == "picture:bomb"
    assert refusal(bomb(11_000, 10_000)) == "picture:bomb"
    assert refusal(bomb(300, 300)) == "picture:truncated"


def test_a_bomb_is_refused_where_warnings_are_errors_too():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert refusal(bomb(10_000, 9_500)) == "picture:bomb"


def test_an_absurd_aspect_ratio_is_refused_by_the_header():
    assert refusal(bomb(2_001, 100)) == "picture:aspect_ratio"
    assert refusal(bomb(100, 2_001)) == "picture:aspect_ratio"
    assert prepare_picture(encoded(drawn(200, 10)), LIMITS).seen is None


def test_what_is_no_picture_is_called_that():
    assert refusal(b"") == "picture:empty"
    assert refusal(b"<html>404</html>") == "picture:not_a_picture"
    assert refusal(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == "picture:not_a_picture"
    assert refusal(encoded(drawn(), "BMP"), PictureLimits(max_bytes=1024)) == "picture:too_large"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_truncated_picture_is_found_even_if_it_would_pass_through(format: str):
    noise = Image.effect_noise((90, 90), 80).convert("RGB")
    data = encoded(noise, format)
    for share in (0.3, 0.6, 0.9):
        assert refusal(data[: int(len(data) * share)]) == "picture:truncated"
    assert refusal(data[:20]) == "picture:truncated"


def test_a_progressive_jpeg_that_ends_early_is_truncated():
    noise = Image.effect_noise((400, 400), 80).convert("RGB")
    data = encoded(noise, "JPEG", progressive=True)
    assert refusal(data[: len(data) * 2 // 3]) == "picture:truncated"


SAMPLES = [
    encoded(drawn(), "JPEG"),
    encoded(drawn(), "JPEG", progressive=True),
    encoded(drawn().convert("CMYK"), "JPEG"),
    encoded(drawn(), "PNG"),
    encoded(drawn().quantize(16), "PNG", transparency=1),
    encoded(drawn(), "WEBP"),
    encoded(drawn(), "WEBP", lossless=True),
    encoded(drawn(), "GIF", save_all=True, append_images=[drawn().rotate(90)]),
    encoded(drawn(), "TIFF", compression="tiff_lzw"),
    encoded(drawn(), "BMP"),
    encoded(drawn(), "AVIF"),
    encoded(drawn(), "JPEG2000"),
]


def prepared_or_refused(data: bytes) -> None:
    try:
        ready = prepare_picture(data, LIMITS)
    except PictureRejected as error:
        reason = error.reason
    else:
        reason = None
    if reason is not None:
        assert reason.startswith("picture:")
        return
    assert ready.image.mode == "RGB"
    assert ready.image.size == (ready.seen_width, ready.seen_height)
    assert max(ready.image.size) <= 256
    assert ready.seen_width * ready.seen_height <= 40_000


@given(st.binary(max_size=400))
def test_any_bytes_are_prepared_or_refused(data: bytes):
    prepared_or_refused(data)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SAMPLES), st.integers(0, 2**32), st.floats(0.05, 1.0))
def test_any_damage_to_a_real_picture_ends_in_a_picture_or_a_reason(
    sample: bytes, seed: int, share: float
):
    dice = random.Random(seed)
    data = bytearray(sample[: max(1, int(len(sample) * share))])
    for _ in range(dice.randrange(6)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    prepared_or_refused(bytes(data))


@given(
    st.integers(1, 30_000), st.integers(1, 30_000), st.integers(16, 4000), st.integers(256, 10**7)
)
def test_a_scaled_size_is_within_limits_keeps_its_aspect_and_never_grows(
    width: int, height: int, side: int, pixels: int
):
    w, h = size_within(width, height, max_side_px=side, max_pixels=pixels)
    assert 1 <= w <= min(width, side)
    assert 1 <= h <= min(height, side)
    assert w * h <= pixels
    if (w, h) != (width, height):
        scale = min(side / max(width, height), (pixels / (width * height)) ** 0.5)
        if min(width, height) * scale >= 1:
            assert abs(w - width * scale) <= 1
            assert abs(h - height * scale) <= 1


def test_the_light_limits_and_the_recipes_have_the_same_defaults():
    recipe = ImageLimits().model_dump()
    assert asdict(PictureLimits()) == {name: recipe[name] for name in asdict(PictureLimits())}
    assert prepare_picture(encoded(drawn()), ImageLimits()).seen is None


def test_preparing_changes_no_setting_of_pillow():
    before = Image.MAX_IMAGE_PIXELS
    prepare_picture(encoded(drawn(600, 600), "JPEG"), LIMITS)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_smaller_copy_has_nearly_the_same_hash_and_a_recoloured_one_another_colour():
    image = Image.effect_mandelbrot((400, 300), (-2, -1, 1, 1), 100).convert("RGB")
    smaller = image.resize((200, 150))
    other = Image.effect_noise((400, 300), 90).convert("RGB")
    assert len(perceptual_hash(image)) == 64
    assert hash_distance(perceptual_hash(image), perceptual_hash(smaller)) < 20
    assert hash_distance(perceptual_hash(image), perceptual_hash(other)) > 60
    red, green, blue = drawn().split()
    swapped = Image.merge("RGB", (blue, red, green))
    assert colour_distance(colour_signature(drawn()), colour_signature(drawn(120, 80))) < 12
    assert colour_distance(colour_signature(drawn()), colour_signature(swapped)) > 30
