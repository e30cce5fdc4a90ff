"""Colour metrics in CIELAB: colour difference and histogram distance.

sRGB to linear light: IEC 61966-2-1. Linear light to CIELAB under D65: CIE 15:2004, section 8.2.1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _TO_XYZ.sum(1)  # D65, so that white is exactly (100, 0, 0)
BINS = (8, 10, 10)  # of L* in [0, 100], a* and b* in [-100, 100]


def lab(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """uint8 sRGB (..., 3) -> L*, a*, b* (..., 3)."""
    value = np.asarray(pixels, np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _TO_XYZ.T / _WHITE
    bent = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(bent, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def delta_e(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Mean colour difference of two images of equal size, pixel by pixel: CIE76, the distance in CIELAB."""
    return float(np.linalg.norm(lab(first) - lab(second), axis=-1).mean())


def histogram(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """CIELAB histogram (BINS) of sRGB colours (N, 3), normalised to sum 1, with half of each bin blurred over neighbours.

    The blur reduces the effect of bin borders. Without colours, all bins are zero.
    """
    ranges = ((0, 100), (-100, 100), (-100, 100))
    counts, _ = np.histogramdd(np.clip(lab(colours), -100, 100), bins=BINS, range=ranges)
    total = counts.sum()
    if total == 0:
        return counts
    shares = counts / total
    for axis in range(3):
        padded = np.pad(shares, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        before, after = (np.take(padded, range(k, k + BINS[axis]), axis) for k in (0, 2))
        shares = shares / 2 + (before + after) / 4
    return shares / shares.sum()


def histogram_distance(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """1 - histogram intersection (Swain & Ballard 1991) of two sets of colours (N, 3), (M, 3): 0 equal, 1 disjoint.

    Two empty sets have distance 0, an empty and a non-empty one distance 1.
    """
    if len(first) == 0 or len(second) == 0:
        return float(len(first) != len(second))
    return float(1 - np.minimum(histogram(first), histogram(second)).sum())
