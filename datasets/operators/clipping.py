"""How much of a sound was cut off at full scale."""

from __future__ import annotations

import numpy as np

from codi2_datasets.operators import Operator

FULL = 32_766 / 32_768  # a step less than the largest number, as sounds are brought just below it when they are read
RUN = 3  # samples in a row: a single one at full scale is a peak, and no harm


def measure(sound: np.ndarray) -> dict[str, float]:
    """`clipping`: share of samples in runs of three or more at full scale; `clipped_run`: samples of the longest run."""
    full = np.concatenate([[False], np.abs(sound) >= FULL, [False]])
    edges = np.flatnonzero(full[1:] != full[:-1])
    lengths = edges[1::2] - edges[::2]
    clipped = int(lengths[lengths >= RUN].sum())
    return {
        "clipping": round(clipped / max(1, sound.size), 6),
        "clipped_run": float(lengths.max(initial=0)),
    }


OPERATOR = Operator("clipping", "1", "audio", measure)
