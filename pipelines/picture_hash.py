"""What a picture looks like in a few bytes: for finding near duplicates, not for identity.

Both are taken from the upright RGB picture that the model sees.
"""

from __future__ import annotations

import imagehash
from PIL import Image
from PIL.Image import Resampling

HASH_SIDE = 16
COLOUR_SIDE = 4
HASH_BYTES = HASH_SIDE**2 // 8
COLOUR_BYTES = COLOUR_SIDE**2 * 3


def perceptual_hash(image: Image.Image) -> str:
    """The 256-bit DCT hash of a picture's grey version, as 64 hex digits."""
    return str(imagehash.phash(image, hash_size=HASH_SIDE))


def colour_signature(image: Image.Image) -> str:
    """Mean RGB of a 4 x 4 grid, rows first, as 96 hex digits.

    A perceptual hash is blind to colour: this tells a recoloured scene from its original.
    """
    grid = image.convert("RGB").resize((COLOUR_SIDE, COLOUR_SIDE), Resampling.BOX)
    return grid.tobytes().hex()


def hash_distance(a: str, b: str) -> int:
    """Bits that differ between two perceptual hashes, 0 to 256."""
    return (int(a, 16) ^ int(b, 16)).bit_count()


def colour_distance(a: str, b: str) -> int:
    """Greatest difference of two colour signatures in any place and colour, 0 to 255.

    Not the mean, which a thing in another colour hardly moves.
    """
    left, right = bytes.fromhex(a), bytes.fromhex(b)
    return max(abs(x - y) for x, y in zip(left, right, strict=True))
