"""Encodes audio of replies in the formats of OpenAI's API."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_datasets.media.resampling import resample
from codi2_model.evaluation.report.outputs import clipped, encode_medium

PCM_RATE = 24_000  # Hz of raw PCM in OpenAI's API


def _by_libsndfile(container: str, subtype: str) -> Callable[[NDArray[np.float32]], bytes]:
    def encode(wave: NDArray[np.float32]) -> bytes:
        buffer = io.BytesIO()
        soundfile.write(buffer, wave, SAMPLE_RATE, format=container, subtype=subtype)
        return buffer.getvalue()

    return encode


def _wav(wave: NDArray[np.float32]) -> bytes:
    return encode_medium("audio", wave)[0]


def _pcm(wave: NDArray[np.float32]) -> bytes:
    """Raw samples: 16 bits, mono, little-endian."""
    samples = np.clip(resample(wave, SAMPLE_RATE, PCM_RATE), -1, 1)
    return np.rint(samples * 32_767).astype("<i2").tobytes()


def _by_ffmpeg(container_format: str, codec: str, sample_format: str) -> Callable[[NDArray[np.float32]], bytes]:
    def encode(wave: NDArray[np.float32]) -> bytes:
        buffer = io.BytesIO()
        # bitexact: otherwise an Ogg stream has a random serial number
        with av.open(buffer, "w", format=container_format, options={"fflags": "+bitexact"}) as container:
            stream: Any = container.add_stream(codec, rate=SAMPLE_RATE, layout="mono", options={"flags": "+bitexact"})
            stream.codec_context.open()
            size = stream.codec_context.frame_size
            for start in range(0, len(wave), size):
                samples = np.ascontiguousarray(wave[None, start : start + size])
                frame = av.AudioFrame.from_ndarray(samples, format=sample_format, layout="mono")
                frame.sample_rate, frame.pts = SAMPLE_RATE, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return buffer.getvalue()

    return encode


FORMATS: dict[str, tuple[str, Callable[[NDArray[np.float32]], bytes]]] = {
    "wav": ("audio/wav", _wav),
    "mp3": ("audio/mpeg", _by_libsndfile("MP3", "MPEG_LAYER_III")),
    "flac": ("audio/flac", _by_libsndfile("FLAC", "PCM_16")),
    "opus": ("audio/ogg", _by_ffmpeg("ogg", "libopus", "flt")),
    "aac": ("audio/aac", _by_ffmpeg("adts", "aac", "fltp")),
    "pcm16": ("audio/pcm", _pcm),
}
ALIASES = {"pcm": "pcm16"}


def encode_audio(value: Any, form: str) -> bytes:
    """Encode mono samples at 16 kHz. `form`: a key of `FORMATS`."""
    return FORMATS[form][1](clipped(value))


def media_type(form: str) -> str:
    return FORMATS[form][0]


def format_named(name: Any) -> str | None:
    """The key of `FORMATS` for a name or alias; None if there is none."""
    name = ALIASES.get(name, name) if isinstance(name, str) else None
    return name if name in FORMATS else None
