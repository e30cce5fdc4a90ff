"""How long a sound is."""

from __future__ import annotations

import numpy as np

from codi2_datasets.operators import Operator
from codi2_datasets.sample import SAMPLE_RATE


def measure(sound: np.ndarray) -> dict[str, float]:
    """`seconds`."""
    return {"seconds": round(sound.size / SAMPLE_RATE, 6)}


OPERATOR = Operator("duration", "1", "audio", measure)
