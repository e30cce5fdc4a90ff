"""Add echoes to audio. Params: delay in seconds, decay (level of each echo relative to the one before), repeats.

The level is lowered as a whole if the sum would clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_datasets.media.audio import below_full
from codi2_datasets.transforms import Transform


def make(inputs: Sequence[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    sound, step = inputs[0].astype(np.float64), round(params["delay"] * SAMPLE_RATE)
    total = np.zeros(len(sound) + params["repeats"] * step)
    for n in range(params["repeats"] + 1):
        total[n * step : n * step + len(sound)] += params["decay"] ** n * sound
    return below_full(total)


DERIVATION = Transform("echo", "1", "audio", make)
