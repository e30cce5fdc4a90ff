"""Does a clip move where and when the true one moves?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE, STEPS = 16, 8  # blocks a side, moments in time: coarse, so that a shift of a pixel or a frame costs little
STILL = 0.5  # mean change in steps of 255 below which nothing moves


def at_moments(frames: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """`count` frames at even distances, the first and the last among them; frames repeat where there are fewer."""
    if count == 1:
        return frames[len(frames) // 2][None]
    return frames[np.round(np.linspace(0, len(frames) - 1, count)).astype(int)]


def motion(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(T, H, W, 3) -> (STEPS, SIDE, SIDE): how much brightness changes from each moment to the next, in steps of 255."""
    grey = [
        np.asarray(Image.fromarray(frame).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
        for frame in at_moments(np.asarray(frames, np.uint8), STEPS + 1)
    ]
    return np.abs(np.diff(np.stack(grey), axis=0))


def motion_agreement(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Pearson correlation of the two clips' motion over places and times: 1 the same, 0 nothing in common, also for a
    clip that moves everywhere alike. Two still clips agree (1); a still one has nothing in common with one that moves.
    """
    one, other = motion(first), motion(second)
    still = one.mean() < STILL, other.mean() < STILL
    if any(still):
        return float(all(still))
    one, other = one - one.mean(), other - other.mean()
    return float((one * other).sum() / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12))
