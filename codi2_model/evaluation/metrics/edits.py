"""Was the edit made, and nothing else? Measured against the exact target and the source it was made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

SAME = 32  # steps of 255: two pixels nearer than this in every channel count as the same
MARGIN = 1  # pixels around the true change that belong to it: edges are blurred


@dataclass(frozen=True)
class EditScore:
    """`kept`: share of pixels outside the true change that stayed as they were; None where everything changes.
    `progress`: how much of the way from source to target was gone inside it, 1 all, 0 none, below 0 away from it;
    None where source and target are the same."""

    kept: float | None
    progress: float | None


def edit_score(source: NDArray[np.uint8], target: NDArray[np.uint8], answer: NDArray[np.uint8]) -> EditScore:
    """Of three pictures (H, W, 3) of one size; progress is at least -1."""
    before, after, made = (np.asarray(p, np.int16) for p in (source, target, answer))
    if not before.shape == after.shape == made.shape:
        raise ValueError(f"edit: pictures of {before.shape}, {after.shape} and {made.shape}")
    changed = binary_dilation(np.abs(after - before).max(-1) > SAME, iterations=MARGIN)
    same = np.abs(made - before).max(-1) <= SAME
    kept = float(same[~changed].mean()) if (~changed).any() else None
    way = np.abs(after - before)[changed].sum()
    progress = float(max(-1.0, 1 - np.abs(after - made)[changed].sum() / way)) if way else None
    return EditScore(kept, progress)
