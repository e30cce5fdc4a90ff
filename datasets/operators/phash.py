"""Perceptual hash of an image: 64 bits, 8 x 8 mean colours and 32 x 32 grey levels, for near-duplicates.

The hash is the usual one based on a discrete cosine transform (Zauner 2010, as in pHash), computed in integers: a
symmetric drawing has coefficients of exactly zero, whose sign in floating point is noise.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

from codi2_datasets.operators import Operator

SIDE = 32  # pixels of the small grey image that is transformed
KEPT = 8  # lowest frequencies along each side
SCALE = 2**12
STEP = SIDE * SCALE * SCALE // 16  # a coefficient below about half a grey level counts as zero
CELLS = 8


def measure(image: np.ndarray) -> dict[str, str | np.ndarray]:
    """`phash`: 16 hexadecimal digits; `thumb`: 192 numbers, the mean colours of 8 x 8 cells from 0 to 1; `detail`: 1024
    hexadecimal digits, the grey levels of 32 x 32 cells from 0 (black) to f.
    """
    picture = Image.fromarray(image)
    grey = np.asarray(picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.int64)
    return {"phash": f"{phash(grey):016x}", "thumb": thumb(picture), "detail": detail(grey)}


def phash(grey: np.ndarray) -> int:
    """(32, 32) from 0 to 255 -> 64 bits: which of the 8 x 8 lowest frequencies are above the median, row by row."""
    waves = cosines()
    coefficients = np.rint((waves @ (grey - 128) @ waves.T) / STEP).astype(np.int64).ravel()
    # the first is the mean of the image, which does not describe its structure
    bits = coefficients > np.median(coefficients[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@cache
def cosines() -> np.ndarray:
    """(8, 32): the lowest-frequency cosines, in steps of 1 / SCALE."""
    place, frequency = np.arange(SIDE) + 0.5, np.arange(KEPT)
    return np.rint(np.cos(np.pi / SIDE * frequency[:, None] * place) * SCALE).astype(np.int64)


def thumb(picture: Image.Image) -> np.ndarray:
    small = picture.resize((CELLS, CELLS), Image.Resampling.BOX)
    return (np.asarray(small, dtype=np.float32) / np.float32(255)).ravel()


def detail(grey: np.ndarray) -> str:
    digits = ((grey * 15 + 127) // 255).astype(np.uint8).ravel()
    return (digits[::2] << 4 | digits[1::2]).tobytes().hex()


OPERATOR = Operator("phash", "1", "image", measure)
