"""Shapes on white paper: masks, their overlap, and how far their outlines lie apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt

INK = 24  # steps of 255 that a channel must lie below white: above the noise of a decoder, below the palest drawing

Mask = NDArray[np.bool_]


def foreground(pixels: NDArray[np.uint8], ink: int = INK) -> Mask:
    """(H, W, 3) on white -> (H, W): True where any channel is darker than white by more than `ink`."""
    return (255 - np.asarray(pixels, np.int16)).max(-1) > ink


def iou(first: Mask, second: Mask) -> float:
    """Intersection over union (Jaccard 1912). Two empty masks agree."""
    union = np.logical_or(first, second).sum()
    return float(np.logical_and(first, second).sum() / union) if union else 1.0


def chamfer(first: Mask, second: Mask) -> float:
    """Mean distance from each outline to the other, both ways, as a part of the picture's diagonal (Barrow et al. 1977).

    Two empty masks are 0 apart; an empty mask and another are 1 apart.
    """
    if not first.any() or not second.any():
        return float(first.any() != second.any())
    one, other = outline(first), outline(second)
    there, back = distance_transform_edt(~other)[one].mean(), distance_transform_edt(~one)[other].mean()
    return float((there + back) / 2 / np.hypot(*first.shape))


def outline(mask: Mask) -> Mask:
    """The pixels of a mask that touch what is outside it (the picture's edge counts as outside)."""
    return mask & ~binary_erosion(mask)
