"""Rotate an image clockwise by quarter turns, pixel for pixel. Params: quarters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from codi2_datasets.transforms import Transform


def make(inputs: Sequence[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    return np.ascontiguousarray(np.rot90(inputs[0], -params["quarters"]))


DERIVATION = Transform("rotate", "1", "image", make)
