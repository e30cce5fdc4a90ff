"""Audio normalisation: any common format -> 16 kHz mono FLAC with 16 bits, deterministic; exact mixing."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import soundfile

from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_datasets.media import MediaError
from codi2_datasets.media.decoding.audio_files import Limits, read_audio
from codi2_datasets.media.resampling import resample

FULL = 32_768  # steps from silence to full scale in 16 bits
FADE_SECONDS = 0.05  # at the end of audio that was cut


def normalise_audio(payload: bytes, sample_rate: int = SAMPLE_RATE, max_seconds: float = 10.0) -> tuple[bytes, float]:
    """Encode audio as mono FLAC at `sample_rate`. Returns the bytes and the duration in seconds.

    Channels are mixed as in `to_mono`. The level is kept, and lowered only if a peak would clip. Silence at either end
    is kept. Audio longer than `max_seconds` is cut there and faded out. Raises MediaError for corrupt or empty files.
    """
    samples, rate = read_audio(
        payload, Limits(max_seconds + 1)
    )  # one more second, so that the cut falls within the audio
    samples = resample(samples, rate, sample_rate)
    limit = round(max_seconds * sample_rate)
    if len(samples) > limit:
        samples = fade_out(samples[:limit], round(FADE_SECONDS * sample_rate))
    peak = float(np.abs(samples).max())
    if peak * FULL > FULL - 1:
        samples = samples * ((FULL - 1) / FULL / peak)
    return encode_audio(samples, sample_rate), len(samples) / sample_rate


def fade_out(samples: np.ndarray, length: int) -> np.ndarray:
    """Fade out the last `length` samples with half a cosine."""
    length = min(length, len(samples))
    faded = samples.copy()
    faded[len(samples) - length :] *= 0.5 + 0.5 * np.cos(np.pi * (np.arange(length) + 1) / max(length, 1))
    return faded


def below_full(samples: np.ndarray) -> np.ndarray:
    """float32, lowered as a whole if a peak would clip."""
    return (samples / max(1.0, float(np.abs(samples).max(initial=0.0)))).astype(np.float32)


def encode_audio(samples: np.ndarray, sample_rate: int = SAMPLE_RATE) -> bytes:
    """FLAC with 16 bits from mono samples in [-1, 1]. Lossless for what `decode_audio` returns."""
    steps = np.clip(np.rint(np.asarray(samples, dtype=np.float64) * FULL), -FULL, FULL - 1).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, steps, sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_audio(data: bytes) -> np.ndarray:
    """float32 mono samples in [-1, 1] at the file's own rate, from a file made by `encode_audio`. Raises MediaError."""
    try:
        samples, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise MediaError(f"damaged or unknown sound: {' '.join(str(error).split())}") from error
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)


def mix(
    clips: Sequence[np.ndarray],
    gains: Sequence[float],
    offsets: Sequence[float],
    sample_rate: int = SAMPLE_RATE,
) -> np.ndarray:
    """The sum of mono tracks, each scaled by its gain and starting `offset` seconds in. float32, as long as needed.

    Each scaled track is rounded to the 16-bit grid before it is added. So a mixture minus one of its tracks equals,
    sample by sample and also after encoding, the mixture of the others. Gains must sum to at most 1, so that nothing
    clips and no level depends on the other tracks. Raises ValueError if these conditions do not hold.
    """
    if not clips or not len(clips) == len(gains) == len(offsets):
        raise ValueError(f"mix: {len(clips)} clips, {len(gains)} gains and {len(offsets)} offsets")
    if sum(abs(gain) for gain in gains) > 1 + 1e-9:
        raise ValueError(f"mix: gains {list(gains)} sum to more than 1 and might clip")
    if min(offsets) < 0:
        raise ValueError(f"mix: offset {min(offsets)} s is below 0")
    starts = [round(offset * sample_rate) for offset in offsets]
    total = np.zeros(max(start + len(clip) for start, clip in zip(starts, clips, strict=True)), dtype=np.int64)
    for clip, gain, start in zip(clips, gains, starts, strict=True):
        # towards zero, so that the grid never makes a track louder than its gain allows
        total[start : start + len(clip)] += np.trunc(np.asarray(clip, dtype=np.float64) * (FULL * gain)).astype(
            np.int64
        )
    return (np.clip(total, -FULL, FULL - 1) / FULL).astype(np.float32)
