"""Amount of motion in a video: detects still images and flicker."""

from __future__ import annotations

import numpy as np

from codi2_datasets.operators import Operator


def measure(clip: np.ndarray) -> dict[str, float]:
    """`motion`: mean difference between consecutive frames, `motion_peak`: the largest, both from 0 to 1; `frames`: T."""
    frames = clip.astype(np.int16)
    steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3)) / 255.0
    motion, peak = (float(steps.mean()), float(steps.max())) if len(steps) else (0.0, 0.0)
    return {"motion": round(motion, 6), "motion_peak": round(peak, 6), "frames": float(len(clip))}


OPERATOR = Operator("motion", "1", "video", measure)
