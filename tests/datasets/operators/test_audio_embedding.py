"""The input of aiSFX: its published spectrogram, computed without Essentia."""

from __future__ import annotations

import numpy as np
import pytest

from codi2_datasets.operators.audio_embedding import LARGEST, spectrogram

RATE = 16_000


def test_the_spectrogram_follows_the_published_numbers() -> None:
    tone = (0.3 * np.sin(2 * np.pi * 1000.0 * np.arange(RATE) / RATE)).astype(np.float32)
    shown = spectrogram(tone)
    assert shown.shape == (44, 96)  # 44,100 samples in hops of 1024, the first frame centred on time 0
    mel = 2595 * np.log10(1 + 1000 / 700)
    top = 2595 * np.log10(1 + 22_050 / 700)
    assert abs(int(shown[20].argmax()) - (mel / top * 97 - 1)) <= 1  # the band whose HTK-mel centre is nearest
    amplitude = 0.3 * 2047 / 4  # half the amplitude times the window's mean of about a half
    assert shown[20].max() * LARGEST == pytest.approx(np.log10(1e4 * amplitude**2 / 3), abs=0.6)
    assert spectrogram(np.zeros(RATE, np.float32)).max() == 0
