"""Shared parts of audio suites: reading files at 16 kHz, and distances of sets and pairs."""

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


def read_sound(path: Path) -> NDArray[np.float32]:
    """Read audio as mono at 16 kHz, truncated to 10 s. Raises SuiteError for a broken file."""
    try:
        samples, rate = read_audio(path.read_bytes(), Limits(SECONDS + 1))
    except MediaError as error:
        raise SuiteError(f"{path}: {error}") from error
    return resample(samples, rate, SAMPLE_RATE)[: round(SECONDS * SAMPLE_RATE)].astype(np.float32)


def fill_missing(answers: Sequence[Any | None]) -> list[NDArray[np.float32]]:
    """Answers with one second of silence for missing ones."""
    return [np.zeros(SAMPLE_RATE, np.float32) if answer is None else answer for answer in answers]


def distances(
    task: str,
    items: Sequence[Request],
    generated: Sequence[NDArray[np.floating]],
    truths: Sequence[NDArray[np.floating]],
    judges: Networks,
    baseline: str | None = None,
) -> list[Figure]:
    """Figures of paired answers and truths: fd (Frechet, no shrinkage) and kl by the audio classifier, lsd of the signals."""
    features, classes = judges.audio_classes(list(generated))
    true_features, true_classes = judges.audio_classes(list(truths))
    names = [request.group for request in items]
    kl = {n: kl_divergence(t, g) for n, t, g in zip(names, true_classes, classes, strict=True)}
    lsd = {n: log_spectral_distance(g, t) for n, g, t in zip(names, generated, truths, strict=True)}
    figures = [Figure(task, "kl", kl, baseline=baseline), Figure(task, "lsd", lsd, baseline=baseline)]
    if len(generated) > 1:
        value = frechet(features, true_features, shrink=False).value
        figures.append(Figure(task, "fd", value=value, n=len(generated), baseline=baseline))
    return figures
