"""Decodes audio files to mono samples as a player plays them: by libsndfile if it supports the format, else by FFmpeg."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Any

import numpy as np
import soundfile

from codi2_datasets.media import MediaError, TooLarge
from codi2_datasets.media.decoding.containers import AUDIO_FORMATS, audio_track, decoded, opened
from codi2_datasets.media.decoding.media_types import media_type_of
from codi2_datasets.media.decoding.raster import one_line
from codi2_datasets.media.resampling import resample

RATES = range(1_000, 768_001)  # Hz; values that a header may give
MAX_CHANNELS = 64
LIBSNDFILE = (
    "audio/wav", "audio/flac", "audio/ogg", "audio/mpeg", "audio/aiff", "audio/basic", "audio/x-caf", "audio/x-w64",
)  # fmt: skip
# Weight of a speaker's channel in a mono mix, as in broadcasting; a subwoofer repeats the other channels
WEIGHTS = {"FC": 1.0, "FL": 0.7071, "FR": 0.7071, "LFE": 0.0, "LFE2": 0.0}
OTHER_WEIGHT = 0.5  # of side and rear channels
LAYOUTS = {  # by number of channels, for files that do not name them: the order of WAV and FLAC, then that of Ogg
    3: (("FL", "FR", "FC"), ("FL", "FC", "FR")),
    5: (("FL", "FR", "FC", "BL", "BR"), ("FL", "FC", "FR", "BL", "BR")),
    6: (("FL", "FR", "FC", "LFE", "BL", "BR"), ("FL", "FC", "FR", "BL", "BR", "LFE")),
    7: (("FL", "FR", "FC", "LFE", "BC", "SL", "SR"), ("FL", "FC", "FR", "SL", "SR", "BC", "LFE")),
    8: (("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"), ("FL", "FC", "FR", "SL", "SR", "BL", "BR", "LFE")),
}
SILENT = 0.1  # of the loudest channel: a mix below it means that the channels cancel each other out


@dataclass(frozen=True)
class Limits:
    """What to read of a file: the first `seconds`.

    More than `values` samples over all channels, or a header with more than `longest` seconds, raises TooLarge.
    """

    seconds: float
    longest: float = inf
    values: int = 2**28
    rates: range = RATES


def read_audio(payload: bytes, limits: Limits) -> tuple[np.ndarray, int]:
    """Mono float64 samples and their rate: the track that a player plays, from its true start. Raises MediaError."""
    if media_type_of(payload) in LIBSNDFILE:
        try:
            return _by_libsndfile(payload, limits)
        except (soundfile.LibsndfileError, RuntimeError, OSError, MemoryError) as error:
            reason = one_line(error)
        try:  # codecs inside WAV, tags before MP3, and other cases that libsndfile does not support
            return _by_ffmpeg(payload, limits)
        except TooLarge:
            raise
        except MediaError as error:
            raise MediaError(f"damaged or unknown audio: {reason}") from error
    return _by_ffmpeg(payload, limits)


def to_mono(samples: np.ndarray, speakers: Sequence[str] = ()) -> np.ndarray:
    """(n, channels) -> (n,): the channels mixed; if they cancel each other out, for example one inverted, the loudest
    channel.

    Raises MediaError for samples that are not finite.
    """
    if not len(samples):
        raise MediaError("no samples")
    channels = samples.shape[1]
    weights = np.array([WEIGHTS.get(name, OTHER_WEIGHT) for name in speakers])
    if channels > 2 and weights.any():
        mono = np.einsum("nc,c->n", samples, weights / weights.sum())
    else:
        mono = np.einsum("nc->n", samples) / channels  # the mean, three times as fast
    if not np.isfinite(mono).all():
        raise MediaError("samples that are not numbers")
    if channels > 1:
        power = np.einsum("nc,nc->c", samples, samples)  # not BLAS, whose threads cost more than they save
        if np.einsum("n,n->", mono, mono) < SILENT**2 * power.max():
            return np.ascontiguousarray(samples[:, int(power.argmax())])
    return mono


def _wanted(rate: int, channels: int, limits: Limits) -> int:
    """How many samples of each channel to read. Raises MediaError for an impossible rate or number of channels."""
    if rate not in limits.rates:
        raise MediaError(f"sample rate of {rate} Hz")
    if not 0 < channels <= MAX_CHANNELS:
        raise MediaError(f"{channels} channels")
    return ceil(limits.seconds * rate)


def _check_count(samples: int, channels: int, limits: Limits) -> None:
    if samples * channels > limits.values:
        raise TooLarge(f"more than {limits.values:,} samples")


def _by_libsndfile(payload: bytes, limits: Limits) -> tuple[np.ndarray, int]:
    with soundfile.SoundFile(io.BytesIO(payload)) as file:
        most = _wanted(file.samplerate, file.channels, limits)
        if file.frames > limits.longest * file.samplerate:
            raise TooLarge(f"{file.frames / file.samplerate:.1f} s, more than {limits.longest:g} s")
        allowed = limits.values // file.channels
        samples = file.read(frames=min(most, allowed + 1), dtype="float64", always_2d=True)
        _check_count(len(samples), file.channels, limits)
        if not len(samples):  # also a recorder that never wrote the length into the header
            raise RuntimeError("no samples")
        orders = LAYOUTS.get(file.channels, ((), ()))
        return to_mono(samples, orders[file.format == "OGG"]), file.samplerate


def _by_ffmpeg(payload: bytes, limits: Limits) -> tuple[np.ndarray, int]:
    pieces: list[np.ndarray] = []
    first, have = 0, 0.0
    with opened(payload, AUDIO_FORMATS) as container:
        for rate, speakers, samples in _runs(decoded(container, audio_track(container)), limits):
            first = first or rate
            pieces.append(resample(to_mono(samples, speakers), rate, first))
            have += len(samples) / rate
            if have >= limits.seconds:
                break
    if not pieces:
        raise MediaError("no samples")
    return np.concatenate(pieces)[: ceil(limits.seconds * first)], first


def _runs(frames: Iterator[Any], limits: Limits) -> Iterator[tuple[int, list[str], np.ndarray]]:
    """Group consecutive frames of the same format: (rate, speakers, samples).

    A broadcast may change from stereo to surround.
    """
    form, have = (0, 0), 0
    parts: list[np.ndarray] = []
    speakers: list[str] = []
    for frame in frames:
        now = (frame.sample_rate, frame.layout.nb_channels)
        if now != form:
            if parts:
                yield form[0], speakers, np.concatenate(parts)
            form, parts, have, most = now, [], 0, _wanted(*now, limits)
            speakers = [channel.name for channel in frame.layout.channels]
        parts.append(_values(frame))
        have += len(parts[-1])
        _check_count(have, now[1], limits)
        if have >= most:
            break
    if parts:
        yield form[0], speakers, np.concatenate(parts)


def _values(frame: Any) -> np.ndarray:
    """(n, channels) float64 of a decoded frame, full scale at 1."""
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    if values.dtype == np.uint8:
        return (values - 128.0) / 128
    return values / 2.0 ** (8 * values.itemsize - 1) if values.dtype.kind == "i" else values.astype(np.float64)
