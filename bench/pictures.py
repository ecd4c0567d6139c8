"""How fast pictures are prepared, in megapixels of original a core-second.

One process, one core: hashing the file, decoding, scaling, encoding and both picture hashes, as a
worker of the pool does them, without the disk. Megapixels are those of the original.

    python -m bench.pictures [FOLDER]

Without a folder it draws twelve-megapixel JPEGs, as a phone takes them.
"""

from __future__ import annotations

import argparse
import io
import resource
import statistics
from hashlib import sha256
from pathlib import Path

from PIL import Image

from pipelines.picture_hash import colour_signature, perceptual_hash
from pipelines.pictures import PictureLimits, PictureRejected, prepare_picture

ENDINGS = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="pictures; empty: synthetic 12 MP")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--max-pixels", type=int, default=PictureLimits().max_pixels)
    parser.add_argument("--max-side-px", type=int, default=PictureLimits().max_side_px)
    options = parser.parse_args()
    limits = PictureLimits(max_pixels=options.max_pixels, max_side_px=options.max_side_px)
    pictures = synthetic_pictures(4) if options.folder is None else read_pictures(options.folder)
    if not pictures:
        parser.error(f"{options.folder}: no pictures")
    rates = [rate(pictures, limits) for _ in range(options.repeats)]
    name = options.folder or "synthetic 12 MP JPEGs"
    print(
        f"{name}: {len(pictures)} pictures, median {statistics.median(rates):.1f} megapixels a "
        f"core-second (range {min(rates):.1f} to {max(rates):.1f} over {len(rates)} repeats)"
    )


def rate(pictures: list[bytes], limits: PictureLimits) -> float:
    """Megapixels of original a second of processor time, over all pictures once."""
    pixels, started = 0, _processor_seconds()
    for data in pictures:
        sha256(data).hexdigest()
        try:
            ready = prepare_picture(data, limits)
        except PictureRejected:
            continue
        if ready.seen is not None:
            sha256(ready.seen).hexdigest()
        perceptual_hash(ready.image)
        colour_signature(ready.image)
        pixels += ready.width * ready.height
    return pixels / 1e6 / (_processor_seconds() - started)


def read_pictures(folder: Path) -> list[bytes]:
    """The bytes of all pictures under a folder, in the order of their names."""
    return [p.read_bytes() for p in sorted(folder.rglob("*")) if p.suffix.lower() in ENDINGS]


def synthetic_pictures(count: int) -> list[bytes]:
    """JPEGs of 4000 x 3000 pixels with edges and fine grain, about 4 MB each."""
    pictures = []
    for i in range(count):
        area = (-2.0 + 0.2 * i, -1.2, 0.8 + 0.2 * i, 1.2)
        shapes = Image.effect_mandelbrot((800, 600), area, 60).resize((4000, 3000))
        grain = Image.effect_noise((4000, 3000), 12)
        image = Image.merge("RGB", (shapes, Image.blend(shapes, grain, 0.3), grain))
        out = io.BytesIO()
        image.save(out, "JPEG", quality=90)
        pictures.append(out.getvalue())
    return pictures


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
