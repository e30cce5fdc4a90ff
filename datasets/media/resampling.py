"""Resamples audio from one sample rate to another."""

from __future__ import annotations

from math import gcd

import numpy as np


def resample(samples: np.ndarray, rate: int, target: int) -> np.ndarray:
    """Polyphase resampling by the exact ratio of two rates in Hz."""
    if rate == target:
        return samples
    from scipy.signal import resample_poly

    common = gcd(rate, target)
    return resample_poly(samples, target // common, rate // common)
