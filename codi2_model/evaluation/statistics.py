"""Statistics for small held-out sets: seeded bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A mean over n samples with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def bootstrap_mean(scores: Sequence[float], seed: int = 0, resamples: int = 2000) -> Estimate:
    """Mean with the 95 % percentile bootstrap interval (Efron 1979); equal seeds give equal intervals.

    Raises ValueError for an empty sequence.
    """
    values = np.asarray(scores, np.float64)
    if values.size == 0:
        raise ValueError("no scores: nothing to average")
    draws = np.random.default_rng(seed).integers(0, values.size, (resamples, values.size))
    low, high = np.quantile(values[draws].mean(1), [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high), int(values.size))


def paired_gain(model: Sequence[float], baseline: Sequence[float], seed: int = 0, resamples: int = 2000) -> Estimate:
    """Mean of model - baseline over the same samples, with the paired bootstrap interval.

    Raises ValueError for sequences of different length, or empty ones.
    """
    if len(model) != len(baseline):
        raise ValueError(f"{len(model)} and {len(baseline)} scores: paired scores must have equal length")
    return bootstrap_mean(np.asarray(model, np.float64) - np.asarray(baseline, np.float64), seed, resamples)  # type: ignore[arg-type]
