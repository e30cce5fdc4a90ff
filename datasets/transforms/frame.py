"""Take one frame of a video as an image. Params: at, the position in the video, from 0 (start) to below 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from codi2_datasets.transforms import Transform


def make(inputs: Sequence[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    clip = inputs[0]
    return clip[int(params["at"] * len(clip))]


DERIVATION = Transform("frame", "1", "image", make)
