"""Loudness of audio and its share of silence."""

from __future__ import annotations

import numpy as np

from codi2_datasets.operators import Operator

FLOOR_DB = -100.0
SILENCE_DB = -50.0
FRAME = 320  # 20 ms at 16 kHz


def measure(sound: np.ndarray) -> dict[str, float]:
    """`rms_db` and `peak_db` relative to full scale; `silence`: share of 20 ms frames below -50 dB."""
    if sound.size == 0:
        return {"rms_db": FLOOR_DB, "peak_db": FLOOR_DB, "silence": 1.0}
    frames = np.pad(sound.astype(np.float64), (0, -sound.size % FRAME)).reshape(-1, FRAME)
    levels = decibel(np.sqrt((frames**2).mean(axis=1)))
    rms = float(decibel(np.sqrt(np.mean(sound.astype(np.float64) ** 2))))
    peak = float(decibel(np.abs(sound).max()))
    return {
        "rms_db": round(rms, 3),
        "peak_db": round(peak, 3),
        "silence": round(float((levels < SILENCE_DB).mean()), 6),
    }


def decibel(amplitude: np.ndarray | float) -> np.ndarray:
    return 20.0 * np.log10(np.maximum(amplitude, 10 ** (FLOOR_DB / 20)))


OPERATOR = Operator("loudness", "1", "audio", measure)
