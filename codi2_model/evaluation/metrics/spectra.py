"""Sounds compared in frequency, and judged distributions compared with one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import stft

WINDOW, HOP = 1024, 256  # samples at 16 kHz: 64 ms and 16 ms
FLOOR = 1e-8  # of power, 80 dB below a full-scale sine's: silence is as far from sound as it is heard to be


def power(wave: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mono samples -> (513, frames) of power, Hann windows."""
    padded = np.pad(np.nan_to_num(np.asarray(wave, np.float64)), (0, max(0, WINDOW - len(wave))))
    return np.abs(stft(padded, nperseg=WINDOW, noverlap=WINDOW - HOP, boundary=None, padded=False)[2]) ** 2


def log_spectral_distance(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """LSD = mean over frames of sqrt(mean over frequencies of (log10 P1 - log10 P2)^2), P of power (Gray & Markel 1976,
    in the form that AudioLDM and AUDIT report). The shorter sound is followed by silence; 0 means the same spectra."""
    length = max(len(first), len(second), WINDOW)
    one, other = (power(np.pad(np.asarray(w, np.float64), (0, length - len(w)))) for w in (first, second))
    apart = np.log10(np.maximum(one, FLOOR)) - np.log10(np.maximum(other, FLOOR))
    return float(np.sqrt((apart**2).mean(0)).mean())


def kl_divergence(truth: NDArray[np.floating], guess: NDArray[np.floating]) -> float:
    """KL(truth || guess) in nats of two distributions (K,): sums to 1 each; a guess of 0 counts as 1e-12."""
    p, q = np.asarray(truth, np.float64), np.maximum(np.asarray(guess, np.float64), 1e-12)
    return float(np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / q), 0.0).sum())


def softmax(values: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Over the last axis."""
    scaled = np.asarray(values, np.float64) / temperature
    raised = np.exp(scaled - scaled.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)
