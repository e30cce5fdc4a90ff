"""What suites of sounds share: files read at 16 kHz, and distances of sets and pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_datasets.media import MediaError
from codi2_datasets.media.decoding.audio_files import Limits, read_audio
from codi2_datasets.media.resampling import resample
from codi2_model.evaluation.metrics.frechet import frechet
from codi2_model.evaluation.metrics.spectra import kl_divergence, log_spectral_distance
from codi2_model.evaluation.suites import Figure, Request, SuiteError
from codi2_model.evaluation.suites.networks import Networks

SECONDS = 10.0


def sound(path: Path) -> NDArray[np.float32]:
    """Mono, 16 kHz, 10 s at most. Raises SuiteError."""
    try:
        samples, rate = read_audio(path.read_bytes(), Limits(SECONDS + 1))
    except MediaError as error:
        raise SuiteError(f"{path}: {error}") from error
    return resample(samples, rate, SAMPLE_RATE)[: round(SECONDS * SAMPLE_RATE)].astype(np.float32)


def filled(answers: Sequence[Any | None]) -> list[NDArray[np.float32]]:
    """Silence of a second where there is no answer."""
    return [np.zeros(SAMPLE_RATE, np.float32) if answer is None else answer for answer in answers]


def distances(
    task: str,
    asked: Sequence[Request],
    made: Sequence[NDArray[np.floating]],
    truths: Sequence[NDArray[np.floating]],
    judges: Networks,
    baseline: str | None = None,
) -> list[Figure]:
    """fd (Frechet, no shrinkage) and kl by the audio classifier, lsd of the signals; truths and answers in pairs."""
    features, classes = judges.sound_classes(list(made))
    true_features, true_classes = judges.sound_classes(list(truths))
    names = [request.group for request in asked]
    kl = {n: kl_divergence(t, g) for n, t, g in zip(names, true_classes, classes, strict=True)}
    lsd = {n: log_spectral_distance(g, t) for n, g, t in zip(names, made, truths, strict=True)}
    figures = [Figure(task, "kl", kl, baseline=baseline), Figure(task, "lsd", lsd, baseline=baseline)]
    if len(made) > 1:
        value = frechet(features, true_features, shrink=False).value
        figures.append(Figure(task, "fd", value=value, n=len(made), baseline=baseline))
    return figures
