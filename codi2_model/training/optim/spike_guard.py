"""Which steps are not taken: those without finite losses and gradients, and those whose gradient jumps far above the last."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence

WINDOW = 64  # norms of the steps taken last, whose median is what is usual
ENOUGH = 8  # of them, before a spike is called one


class Guard:
    """`factor`: how many times the median norm is a spike; 0: none is."""

    def __init__(self, factor: float, norms: Sequence[float] = ()) -> None:
        self.factor = factor
        self.norms = deque(norms, maxlen=WINDOW)

    def fault(self, norm: float) -> str:
        """Why the step with this gradient norm is to be skipped; empty if it is to be taken, and then it is remembered."""
        if not math.isfinite(norm):
            return f"gradient norm {norm}"
        if self.factor and len(self.norms) >= ENOUGH:
            usual = statistics.median(self.norms)
            if norm > self.factor * usual:
                return f"gradient norm {norm:.3g}, {norm / usual:.1f} times the usual {usual:.3g}"
        self.norms.append(norm)
        return ""
