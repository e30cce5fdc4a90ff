"""Audio: any common format -> 16 kHz mono FLAC of 16 bits, the same bytes for the same input; exact mixtures."""

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
FADE_SECONDS = 0.05  # at the end of a sound that was cut


def normalise_audio(payload: bytes, sample_rate: int = SAMPLE_RATE, max_seconds: float = 10.0) -> tuple[bytes, float]:
    """Mono FLAC at `sample_rate`, and its length in seconds.

    Channels are mixed as `to_mono` does it. The level stays as it is, lowered only where a peak would clip. Silence at
    either end stays. What is longer than `max_seconds` is cut there and faded out. Raises MediaError for what is corrupt
    or empty.
    """
    samples, rate = read_audio(payload, Limits(max_seconds + 1))  # so that the cut falls into sound
    samples = resample(samples, rate, sample_rate)
    limit = round(max_seconds * sample_rate)
    if len(samples) > limit:
        samples = fade_out(samples[:limit], round(FADE_SECONDS * sample_rate))
    peak = float(np.abs(samples).max())
    if peak * FULL > FULL - 1:
        samples = samples * ((FULL - 1) / FULL / peak)
    return encode_audio(samples, sample_rate), len(samples) / sample_rate


def fade_out(samples: np.ndarray, length: int) -> np.ndarray:
    """Half a cosine over the last `length` samples."""
    length = min(length, len(samples))
    faded = samples.copy()
    faded[len(samples) - length :] *= 0.5 + 0.5 * np.cos(np.pi * (np.arange(length) + 1) / max(length, 1))
    return faded


def below_full(samples: np.ndarray) -> np.ndarray:
    """float32, lowered as a whole where a peak would clip."""
    return (samples / max(1.0, float(np.abs(samples).max(initial=0.0)))).astype(np.float32)


def encode_audio(samples: np.ndarray, sample_rate: int = SAMPLE_RATE) -> bytes:
    """FLAC of 16 bits from mono samples in [-1, 1]. What `decode_audio` gave comes back exactly."""
    steps = np.clip(np.rint(np.asarray(samples, dtype=np.float64) * FULL), -FULL, FULL - 1).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, steps, sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_audio(data: bytes) -> np.ndarray:
    """float32 mono samples in [-1, 1] at the file's own rate, of what `encode_audio` made. Raises MediaError."""
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
    """The sum of mono clips, each scaled by its gain and starting `offset` seconds in. float32, as long as needed.

    Each scaled clip is brought to the 16 bit grid before it is added, so a mixture less one of its clips is, sample by
    sample and also after encoding, the mixture of the others. Gains that sum to 1 at most leave headroom: nothing
    clips, no level depends on what else is in the mixture. Raises ValueError where these do not hold.
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
        # towards zero, so that the grid never makes a clip louder than its gain allows
        total[start : start + len(clip)] += np.trunc(np.asarray(clip, dtype=np.float64) * (FULL * gain)).astype(
            np.int64
        )
    return (np.clip(total, -FULL, FULL - 1) / FULL).astype(np.float32)
