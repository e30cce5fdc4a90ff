"""Effects on sounds: what comes out is what the parameters say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_datasets.media.stretch import stretch
from codi2_datasets.transforms import transforms


def tone(hertz: float = 440.0, seconds: float = 2.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype(np.float32)


def made(name: str, sound: np.ndarray, **params: float) -> np.ndarray:
    return transforms()[name].make([sound], params)


def pitch(sound: np.ndarray) -> float:
    middle = sound[len(sound) // 4 : -len(sound) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 17))
    return float(spectrum.argmax() * SAMPLE_RATE / (1 << 17))


@pytest.mark.parametrize("semitones", [-12, -5, 5, 12])
def test_pitch_moves_by_semitones_and_the_length_stays(semitones: int) -> None:
    moved = made("pitch", tone(), semitones=semitones)
    assert len(moved) == len(tone())
    assert pitch(moved) == pytest.approx(440 * 2 ** (semitones / 12), rel=0.005)
    assert np.sqrt(np.mean(moved**2)) == pytest.approx(np.sqrt(np.mean(tone() ** 2)), rel=0.05)


@pytest.mark.parametrize("factor", [0.6, 1.75])
def test_speed_takes_the_pitch_with_it(factor: float) -> None:
    moved = made("speed", tone(), factor=factor)
    assert len(moved) == pytest.approx(len(tone()) / factor, abs=2)
    assert pitch(moved) == pytest.approx(440 * factor, rel=0.005)


def test_echoes_come_after_their_delay_and_fade() -> None:
    click = np.zeros(4_000, dtype=np.float32)
    click[0] = 0.8
    heard = made("echo", click, delay=0.25, decay=0.5, repeats=3)
    assert np.allclose(heard[[0, 4_000, 8_000, 12_000]], [0.8, 0.4, 0.2, 0.1]) and np.count_nonzero(heard) == 4


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=400), st.sampled_from([0.25, 0.5]))
def test_no_effect_clips_or_makes_up_sound(values: list[float], factor: float) -> None:
    sound = np.array(values, dtype=np.float32)
    assert np.array_equal(made("reverse", made("reverse", sound)), sound)
    assert np.allclose(made("gain", sound, factor=factor), sound * factor)
    halves = [made("trim", sound, start=0.0, end=0.5), made("trim", sound, start=0.5, end=1.0)]
    assert sum(map(len, halves)) in (len(sound), len(sound) + 1)
    for name, params in (("echo", {"delay": 0.25, "decay": 0.5, "repeats": 3}), ("pitch", {"semitones": 5}),
                         ("speed", {"factor": 1.75})):  # fmt: skip
        effect = made(name, sound, **params)
        assert effect.dtype == np.float32 and np.isfinite(effect).all() and np.abs(effect).max(initial=0) <= 1


def test_a_gain_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match="factor 2"):
        made("gain", tone(), factor=2)


@given(st.integers(1, 5_000), st.floats(0.5, 2.0))
def test_stretching_gives_the_length_asked_for(length: int, factor: float) -> None:
    assert len(stretch(np.ones(length), factor)) == round(length * factor)
