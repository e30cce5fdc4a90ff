"""Shape metrics for images on white: foreground masks, their overlap, and the distance of outlines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt

INK = 24  # minimum difference to white (of 255): above decoder noise, below the palest drawings

Mask = NDArray[np.bool_]


def foreground(pixels: NDArray[np.uint8]) -> Mask:
    """(H, W, 3) on white -> (H, W): True if any channel is darker than white by more than `INK`."""
    return (255 - np.asarray(pixels, np.int16)).max(-1) > INK


def iou(first: Mask, second: Mask) -> float:
    """Intersection over union (Jaccard 1912). 1 for two empty masks."""
    union = np.logical_or(first, second).sum()
    return float(np.logical_and(first, second).sum() / union) if union else 1.0


def chamfer(first: Mask, second: Mask) -> float:
    """Mean distance from each outline to the other, in both directions, relative to the image diagonal (Barrow et al. 1977).

    0 for two empty masks, 1 for an empty and a non-empty one.
    """
    if not first.any() or not second.any():
        return float(first.any() != second.any())
    left, right = outline(first), outline(second)
    forward, back = distance_transform_edt(~right)[left].mean(), distance_transform_edt(~left)[right].mean()
    return float((forward + back) / 2 / np.hypot(*first.shape))


def outline(mask: Mask) -> Mask:
    """Pixels of a mask next to pixels outside of it (the border of the image counts as outside)."""
    return mask & ~binary_erosion(mask)
