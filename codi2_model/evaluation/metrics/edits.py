"""Edit metrics: preserved background, and progress from the source to the exact target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

SAME = 32  # of 255: pixels that differ by at most this in every channel count as equal
MARGIN = 1  # width in pixels by which the true change is dilated, because edges are blurred


@dataclass(frozen=True)
class EditScore:
    """Scores of an edit.

    kept: share of unchanged pixels outside the true change; None if the whole image changes.
    progress: 1 - error relative to the difference of source and target, within the true change: 1 equals the target, 0 the
    source, below 0 is further away; None if source and target are equal.
    """

    kept: float | None
    progress: float | None


def edit_score(source: NDArray[np.uint8], target: NDArray[np.uint8], answer: NDArray[np.uint8]) -> EditScore:
    """Scores for three images (H, W, 3) of equal size; progress is at least -1. Raises ValueError for other shapes."""
    before, after, result = (np.asarray(p, np.int16) for p in (source, target, answer))
    if not before.shape == after.shape == result.shape:
        raise ValueError(f"edit: images have different shapes {before.shape}, {after.shape} and {result.shape}")
    changed = binary_dilation(np.abs(after - before).max(-1) > SAME, iterations=MARGIN)
    same = np.abs(result - before).max(-1) <= SAME
    kept = float(same[~changed].mean()) if (~changed).any() else None
    distance = np.abs(after - before)[changed].sum()
    progress = float(max(-1.0, 1 - np.abs(after - result)[changed].sum() / distance)) if distance else None
    return EditScore(kept, progress)
