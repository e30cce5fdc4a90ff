"""Lower the level of audio. Params: factor of the amplitude, above 0 and at most 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from codi2_datasets.transforms import Transform


def make(inputs: Sequence[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    if not 0 < params["factor"] <= 1:
        raise ValueError(f"gain: factor {params['factor']} is not above 0 and at most 1")
    return (inputs[0] * np.float32(params["factor"])).astype(np.float32)


DERIVATION = Transform("gain", "1", "audio", make)
