"""Shift the pitch of audio without changing its duration. Params: semitones, above 0 for higher.

The audio is stretched in time by WSOLA and then resampled to its former duration.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from codi2_datasets.media.audio import below_full, resample
from codi2_datasets.media.stretch import stretch
from codi2_datasets.transforms import Transform


def make(inputs: Sequence[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    sound = inputs[0].astype(np.float64)
    ratio = Fraction(2.0 ** (params["semitones"] / 12)).limit_denominator(60)
    moved = resample(stretch(sound, float(ratio)), ratio.numerator, ratio.denominator)
    return below_full(np.pad(moved[: len(sound)], (0, max(0, len(sound) - len(moved)))))


DERIVATION = Transform("pitch", "1", "audio", make)
