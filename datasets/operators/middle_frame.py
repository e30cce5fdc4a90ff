"""What the frame in the middle of a clip looks like, as `phash` has it for a picture: for near-duplicate clips."""

from __future__ import annotations

import numpy as np

from codi2_datasets.operators import Operator, phash


def measure(clip: np.ndarray) -> dict[str, str | np.ndarray]:
    """`phash`, `thumb` and `detail` of frame T // 2."""
    return phash.measure(clip[len(clip) // 2])


OPERATOR = Operator("middle_frame", "1", "video", measure)
