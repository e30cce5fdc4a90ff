"""Audio fingerprint (64 bits) and thumbnail (8 x 8 levels) for near-duplicates, whatever the level and outer silence.

The bits are those of Haitsma and Kalker (2002): whether the step in energy from one frequency band to the next grows or
shrinks from one time to the next. They took a frame every 12 ms, to recognise a tune from three seconds of it; here
eight slots divide the whole audio, because two audios are compared as wholes.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_datasets.operators import Operator

WINDOW, HOP = 512, 256  # samples: 32 ms and 16 ms
SLOTS, BANDS = 9, 9  # the bits are 8 x 8 differences of differences of these
LOWEST, HIGHEST = 100.0, 7600.0  # Hz
RANGE_DB = 60.0  # below the loudest slot and band; anything lower is silence
QUIET_DB = -50.0  # below the peak; samples at either end that stay lower are trimmed
CELLS = 8


def measure(sound: np.ndarray) -> dict[str, str | np.ndarray]:
    """`fingerprint`: 16 hexadecimal digits; `sound_thumb`: 8 slots x 8 bands, levels from 0 (silent) to 1 (loudest)."""
    power = spectrum(sound)
    levels = levels_of(power, SLOTS, BANDS)
    steps = np.diff(np.rint(levels * 200.0), axis=1)  # in steps of 0.3 dB, so that rounding does not decide a sign
    bits = np.diff(steps, axis=0) > 0
    number = int.from_bytes(np.packbits(bits.ravel()).tobytes(), "big")
    return {"fingerprint": f"{number:016x}", "sound_thumb": levels_of(power, CELLS, CELLS).astype(np.float32).ravel()}


def spectrum(sound: np.ndarray) -> np.ndarray:
    """(samples,) -> (frames, 257) power, at least one frame.

    Frames start at the first sample after the leading silence.
    """
    heard = trimmed(sound.astype(np.float64))
    padded = np.pad(heard, (0, max(0, WINDOW - heard.size)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    return np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=1)) ** 2


def trimmed(sound: np.ndarray) -> np.ndarray:
    level = np.abs(sound)
    heard = np.flatnonzero(level > level.max(initial=0.0) * 10 ** (QUIET_DB / 20))
    return sound[heard[0] : heard[-1] + 1] if heard.size else sound[:0]


def levels_of(power: np.ndarray, slots: int, bands: int) -> np.ndarray:
    """(frames, bins) -> (slots, bands) levels on a decibel scale, from 0 at 60 dB below the loudest, to 1."""
    energy = shares(len(power), slots) @ (power @ band_filter(bands))
    loudest = energy.max()
    if loudest <= 0:
        return np.zeros((slots, bands))
    decibels = 10.0 * np.log10(np.maximum(energy / loudest, 10 ** (-RANGE_DB / 10)))
    return 1.0 + decibels / RANGE_DB


def shares(frames: int, slots: int) -> np.ndarray:
    """(slots, frames): weights of the mean over each slot's share of the time; partial frames are weighted."""
    edges = np.linspace(0, frames, slots + 1)
    starts, stops = edges[:-1, None], edges[1:, None]
    frame = np.arange(frames)
    overlap = np.minimum(stops, frame + 1) - np.maximum(starts, frame)
    return np.clip(overlap, 0.0, None) * (slots / frames)


@cache
def band_filter(bands: int) -> np.ndarray:
    """(257, bands): 1 if a bin lies in a band; the bands are equally wide on a logarithmic scale."""
    hertz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)[:, None]
    edges = np.geomspace(LOWEST, HIGHEST, bands + 1)
    return ((hertz >= edges[:-1]) & (hertz < edges[1:])).astype(np.float64)


OPERATOR = Operator("fingerprint", "1", "audio", measure)
