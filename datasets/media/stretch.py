"""Time-stretches audio at constant pitch by WSOLA.

Verhelst and Roelands, An overlap-add technique based on waveform similarity (WSOLA) for high quality time-scale
modification of speech, ICASSP 1993: frames are read at a different rate than they are written, each shifted slightly to
where it best continues what was written before.
"""

from __future__ import annotations

import numpy as np

FRAME = 512  # samples: 32 ms at 16 kHz
HOP = FRAME // 2
REACH = 160  # samples by which a frame may be shifted: a period of 100 Hz


def stretch(sound: np.ndarray, factor: float) -> np.ndarray:
    """(N,) float samples -> (round(N * factor),) float64 samples of the same pitch."""
    length = round(len(sound) * factor)
    window = np.hanning(FRAME + 1)[:-1]  # two windows, half a frame apart, sum to one
    padded = np.pad(sound.astype(np.float64), (FRAME + REACH, 2 * FRAME + REACH))
    count = length // HOP + 3
    total = np.zeros((count + 1) * HOP)
    follows = FRAME + REACH - HOP  # where in `padded` the last written part continues
    for n in range(count):
        ideal = min(FRAME + REACH + round((n - 1) * HOP / factor), len(padded) - FRAME - REACH)
        start = ideal - REACH + most_alike(padded[ideal - REACH : ideal + REACH + FRAME], padded[follows:][:FRAME])
        total[n * HOP : n * HOP + FRAME] += padded[start : start + FRAME] * window
        follows = min(start + HOP, len(padded) - FRAME)
    return total[HOP : HOP + length]


def most_alike(near: np.ndarray, wanted: np.ndarray) -> int:
    """Where in `near` the segment starts that correlates best with `wanted`; the middle if none does."""
    scores = np.correlate(near, wanted, "valid")
    energy = np.concatenate([[0.0], np.cumsum(near**2)])
    scores /= np.sqrt(energy[len(wanted) :] - energy[: -len(wanted)] + 1e-9)
    return int(scores.argmax()) if scores.max() > 0 else len(scores) // 2
