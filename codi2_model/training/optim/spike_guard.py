"""Spike guard: skip steps with non-finite gradients or with a gradient norm far above the recent median."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence

WINDOW = 64  # number of recent gradient norms of which the median is taken
MIN_NORMS = 8  # norms that are needed before spikes are detected


class SpikeGuard:
    """Detects gradient spikes.

    factor: a norm above this many times the median is a spike; 0: detect only non-finite norms.
    norms: recent norms of a resumed run.
    """

    def __init__(self, factor: float, norms: Sequence[float] = ()) -> None:
        self.factor = factor
        self.norms = deque(norms, maxlen=WINDOW)

    def fault(self, norm: float) -> str:
        """Reason to skip the step with this gradient norm; empty to take it, which also records the norm."""
        if not math.isfinite(norm):
            return f"gradient norm {norm}"
        if self.factor and len(self.norms) >= MIN_NORMS:
            median = statistics.median(self.norms)
            if norm > self.factor * median:
                return f"gradient norm {norm:.3g} is {norm / median:.1f} times the recent median {median:.3g}"
        self.norms.append(norm)
        return ""
