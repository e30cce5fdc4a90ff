"""Duration of audio."""

from __future__ import annotations

import numpy as np

from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_datasets.operators import Operator


def measure(sound: np.ndarray) -> dict[str, float]:
    """`seconds`."""
    return {"seconds": round(sound.size / SAMPLE_RATE, 6)}


OPERATOR = Operator("duration", "1", "audio", measure)
