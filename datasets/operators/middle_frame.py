"""Perceptual hash of a video's middle frame, as `phash` for images: for near-duplicate videos."""

from __future__ import annotations

import numpy as np

from codi2_datasets.operators import Operator, phash


def measure(clip: np.ndarray) -> dict[str, str | np.ndarray]:
    """`phash`, `thumb` and `detail` of frame T // 2."""
    return phash.measure(clip[len(clip) // 2])


OPERATOR = Operator("middle_frame", "1", "video", measure)
