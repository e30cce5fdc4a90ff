"""Signal-to-noise ratio of audio, estimated without a reference.

The percentile method of NIST's STNR and Picone's ISIP tools: among the energies of 20 ms frames, the 15th percentile is
the noise N and the 85th is signal and noise together, S; the ratio is 10 log10((S - N) / N). It is meant for speech
with pauses that expose the noise; a steady tone or steady wind has about 0 dB.
"""

from __future__ import annotations

import numpy as np

from codi2_datasets.operators import Operator

FRAME = 320  # 20 ms at 16 kHz
NOISE, SOUND = 15, 85  # percentiles
FLOOR = 1e-10  # energy of a frame at -100 dB, because digital silence has no noise to measure
LEAST_DB, MOST_DB = -20.0, 80.0


def measure(sound: np.ndarray) -> dict[str, float]:
    """`snr_db`, from -20 to 80."""
    frames = sound[: sound.size // FRAME * FRAME].astype(np.float64).reshape(-1, FRAME)
    if len(frames) < 2:
        return {"snr_db": LEAST_DB}
    energies = (frames**2).mean(axis=1) + FLOOR
    noise, both = np.percentile(energies, [NOISE, SOUND])
    ratio = 10.0 * np.log10(max((both - noise) / noise, 10 ** (LEAST_DB / 10)))
    return {"snr_db": round(float(min(ratio, MOST_DB)), 3)}


OPERATOR = Operator("snr", "1", "audio", measure)
