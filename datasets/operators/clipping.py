"""Share of audio samples clipped at full scale."""

from __future__ import annotations

import numpy as np

from codi2_datasets.operators import Operator

FULL = 32_766 / 32_768  # one step below the maximum, because audio is brought just below it when read
RUN = 3  # consecutive samples: a single one at full scale is a peak, not clipping


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
