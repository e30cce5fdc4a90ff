"""Audio embedding with 512 dimensions by aiSFX (X-Sequential-CE, trained on sound effect libraries; weights CC-BY-4.0).

The network takes Essentia's 96-band spectrograms at 44.1 kHz, which are computed here in numpy: Essentia is not needed.
One audio at a time, so that results do not depend on the batch. Measured on one core: 30 ms for audio of 5 s or less.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy  # loads its parts on first use
from numpy.typing import NDArray

from codi2_datasets.operators import Operator
from codi2_datasets.pretrained.embedders import aisfx
from codi2_datasets.pretrained.package_weights import one_thread

RATE, UP, DOWN = 44_100, 441, 160  # from 16 kHz
WINDOW, HOP, MELS, BLOCK = 2048, 1024, 96, 100
LARGEST = 9.457798957824707  # maximum in the spectrograms that the network was trained on
QUIET = np.zeros(1, dtype=np.float32)


def measure(sound: np.ndarray) -> dict[str, np.ndarray]:
    """`audio_embedding`: (512,), of unit length, the mean over blocks of 2.3 s."""
    import torch

    with one_thread():
        rows = aisfx()(torch.from_numpy(blocks(spectrogram(sound)))).numpy()
    mean = rows.mean(axis=0, dtype=np.float64)
    return {"audio_embedding": (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)}


def spectrogram(sound: np.ndarray) -> NDArray[np.float32]:
    """(samples,) -> (frames, 96) log-mel spectrogram as in aisfx/spectrogram/spectrogram_essentia.py.

    Frames of 2048 samples at 44.1 kHz, the first centred on time 0; Hann window, power, 96 triangles in mel from 0 to
    22,050 Hz that each sum to 1, log10(10000 x + 1).
    """
    wave = scipy.signal.resample_poly(sound if sound.size else QUIET, UP, DOWN).astype(np.float32)
    padded = np.pad(wave, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: len(wave) : HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), axis=1)) ** 2
    return (np.log10(power @ mel_filters() * 1e4 + 1.0) / LARGEST).astype(np.float32)


def blocks(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """(frames, 96) -> (blocks, 100, 96), consecutive; a last block less than half full is left out."""
    count = max(1, (len(frames) + BLOCK // 2) // BLOCK)
    filled = np.pad(frames, ((0, BLOCK), (0, 0)))
    return filled[: count * BLOCK].reshape(count, BLOCK, MELS)


@cache
def mel_filters() -> NDArray[np.float64]:
    """(1025, 96): triangular filters between points equally spaced on the HTK mel scale."""
    mel = 2595.0 * np.log10(1.0 + np.linspace(0.0, RATE / 2, WINDOW // 2 + 1) / 700.0)
    edges = np.linspace(0.0, mel[-1], MELS + 2)
    rise = (mel[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - mel[:, None]) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0.0, np.minimum(rise, fall))
    return triangles / np.maximum(triangles.sum(axis=0), 1e-12)


OPERATOR = Operator("audio_embedding", "1", "audio", measure, packages=("aisfx",))
