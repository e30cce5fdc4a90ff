"""Motion agreement of two videos: correlation of brightness changes over space and time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codi2_datasets.media.video import at_moments

SIDE, STEPS = 16, 8  # blocks per side, moments in time; coarse, to tolerate shifts of a pixel or a frame
STILL = 0.5  # mean change (of 255) below which a video counts as still


def motion(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(T, H, W, 3) -> (STEPS, SIDE, SIDE): absolute change of brightness (of 255) between consecutive moments."""
    grey = [
        np.asarray(Image.fromarray(frame).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
        for frame in at_moments(np.asarray(frames, np.uint8), STEPS + 1)
    ]
    return np.abs(np.diff(np.stack(grey), axis=0))


def motion_agreement(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Pearson correlation of the motion of two videos over space and time.

    1 for equal motion, 0 for uncorrelated or uniform motion. Two still videos score 1, a still and a moving one 0.
    """
    left, right = motion(first), motion(second)
    still = left.mean() < STILL, right.mean() < STILL
    if any(still):
        return float(all(still))
    left, right = left - left.mean(), right - right.mean()
    return float((left * right).sum() / max(float(np.linalg.norm(left) * np.linalg.norm(right)), 1e-12))
