"""Statistics for small held-out sets: seeded bootstrap intervals, exact binomial test."""

from __future__ import annotations

import math
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


def bootstrap_mean(scores: Sequence[float], seed: int = 0, resamples: int = 2000, level: float = 0.95) -> Estimate:
    """Mean with the percentile bootstrap interval (Efron 1979); equal seeds give equal intervals.

    Raises ValueError for an empty sequence.
    """
    values = np.asarray(scores, np.float64)
    if values.size == 0:
        raise ValueError("no scores: nothing to average")
    draws = np.random.default_rng(seed).integers(0, values.size, (resamples, values.size))
    low, high = np.quantile(values[draws].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values.mean()), float(low), float(high), int(values.size))


def paired_gain(model: Sequence[float], baseline: Sequence[float], seed: int = 0, resamples: int = 2000) -> Estimate:
    """Mean of model - baseline over the same samples, with the paired bootstrap interval.

    Raises ValueError for sequences of different length, or empty ones.
    """
    if len(model) != len(baseline):
        raise ValueError(f"{len(model)} and {len(baseline)} scores: paired scores must have equal length")
    return bootstrap_mean(np.asarray(model, np.float64) - np.asarray(baseline, np.float64), seed, resamples)  # type: ignore[arg-type]


def binomial_p(successes: int, n: int, chance: float) -> float:
    """P(X >= successes) for X ~ Binomial(n, chance): one-sided exact test of a score against chance."""
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes out of {n}")
    if not 0 <= chance <= 1:
        raise ValueError(f"chance {chance} is not a probability")
    if successes == 0:
        return 1.0
    if chance in (0.0, 1.0):
        return chance
    log_terms = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        + k * math.log(chance) + (n - k) * math.log1p(-chance)
        for k in range(successes, n + 1)
    ]  # fmt: skip
    return min(1.0, math.fsum(map(math.exp, log_terms)))
