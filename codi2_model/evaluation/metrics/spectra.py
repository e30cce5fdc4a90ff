"""Audio metrics: log-spectral distance; KL divergence of distributions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import stft

WINDOW, HOP = 1024, 256  # samples at 16 kHz: 64 ms and 16 ms
FLOOR = 1e-8  # minimum power, 80 dB below a full-scale sine, to limit the distance to silence


def power(wave: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mono samples -> power spectrogram (513, frames), Hann windows."""
    padded = np.pad(np.nan_to_num(np.asarray(wave, np.float64)), (0, max(0, WINDOW - len(wave))))
    return np.abs(stft(padded, nperseg=WINDOW, noverlap=WINDOW - HOP, boundary=None, padded=False)[2]) ** 2


def log_spectral_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """LSD = mean over frames of sqrt(mean over frequencies of (log10 P1 - log10 P2)^2), with power P.

    Gray & Markel 1976, in the form that AudioLDM and AUDIT report. The shorter audio is padded with silence; 0 for equal
    spectra.
    """
    length = max(len(first), len(second), WINDOW)
    left, right = (power(np.pad(np.asarray(w, np.float64), (0, length - len(w)))) for w in (first, second))
    difference = np.log10(np.maximum(left, FLOOR)) - np.log10(np.maximum(right, FLOOR))
    return float(np.sqrt((difference**2).mean(0)).mean())


def kl_divergence(truth: NDArray[np.floating], guess: NDArray[np.floating]) -> float:
    """KL(truth || guess) in nats of two distributions (K,) with sum 1; a guess of 0 counts as 1e-12."""
    p, q = np.asarray(truth, np.float64), np.maximum(np.asarray(guess, np.float64), 1e-12)
    return float(np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / q), 0.0).sum())


def softmax(values: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Softmax over the last axis."""
    scaled = np.asarray(values, np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)
