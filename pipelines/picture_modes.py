"""From pillow's many pixel modes to 8-bit RGB."""

from __future__ import annotations

from PIL import Image


def to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """8-bit RGB of a decoded picture of any mode, alpha over white; adds what was done to `notes`.

    Raises: ValueError for a mode that pillow cannot convert, such as LAB.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        notes.append("16_bit_to_8")
        image = _to_8_bit(image)
    if image.has_transparency_data:
        notes.append("alpha_over_white")
        above = image.convert("RGBA")
        white = Image.new("RGBA", above.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, above).convert("RGB")
    if image.mode == "RGB":
        return image
    name = {"P": "palette", "L": "grey", "1": "bilevel"}.get(image.mode, image.mode.lower())
    notes.append(f"{name}_to_rgb")
    return image.convert("RGB")


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Grey with more than 8 bits a sample, as L. The range is the type's, never stretched to fit.

    16-bit samples are 0 to 65535. Float and 32-bit samples do not state their range: the smallest
    of 0-1 (float only), 0-255, 0-65535 that holds all of them is taken, else their own.
    """
    if image.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    else:
        least, most = (float(v) for v in image.getextrema())  # type: ignore[arg-type]
        tops = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        low, high = 0.0, next((top for top in tops if most <= top), 0.0)
        if least < 0 or not high:
            low, high = least, most if most > least else least + 1.0
    gain = 255.0 / (high - low)
    # Through F, because pillow's own way from I;16 to L clips at 255 instead of scaling.
    wide = image.convert("I").convert("F") if image.mode.startswith("I") else image
    grey = wide.point(lambda v: v * gain + (0.5 - low * gain)).convert("L")
    if isinstance(transparent := image.info.get("transparency"), int):
        grey.info["transparency"] = round((transparent - low) * gain)
    return grey
