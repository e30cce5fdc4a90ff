"""Media in requests and replies: data URLs and base64, checked against caps before anything is decoded.

No remote address is ever fetched: a server that fetches what strangers name reaches into its own network.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from dataclasses import dataclass
from math import gcd
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.signal import resample_poly

from codi2_datasets.sample import SAMPLE_RATE

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
AUDIO_FORMATS = ("wav", "mp3", "flac", "ogg", "opus")


class MediaRefused(ValueError):
    """A medium that is malformed, unknown or too large; the message is for the client."""


@dataclass(frozen=True)
class Limits:
    """What a request may hold. Sizes are checked on the encoded bytes and on headers, before decoding."""

    body_bytes: int = 24 * 1024 * 1024
    medium_bytes: int = 8 * 1024 * 1024
    image_pixels: int = 4096 * 4096
    audio_seconds: float = 60.0
    media: int = 16
    messages: int = 64
    text_characters: int = 32_000
    new_tokens: int = 512
    steps: int = 100


_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(;[\w-]+=[\w.+-]+)*;base64,(?P<data>.*)", re.DOTALL)


def image_from_url(url: str, limits: Limits) -> Image.Image:
    """A `data:image/...;base64,` URL -> RGB picture, alpha over white. Raises MediaRefused."""
    if not url.startswith("data:"):
        raise MediaRefused(
            "remote addresses are not fetched: send the picture as a data: URL (data:image/png;base64,...)"
        )
    match = _DATA_URL.fullmatch(url)
    if match is None:
        raise MediaRefused("not a base64 data URL (data:image/png;base64,... is expected)")
    if match["type"] and not match["type"].startswith("image/"):
        raise MediaRefused(f"the data URL holds {match['type']}, not a picture")
    data = decode_base64(match["data"], limits)
    try:
        image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)  # reads the header alone
        if image.width * image.height > limits.image_pixels:
            size = f"{image.width} x {image.height}"
            raise MediaRefused(f"the picture has {size} pixels, more than {limits.image_pixels:,} in all")
        rgba = ImageOps.exif_transpose(image).convert("RGBA")
    except MediaRefused:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        known = ", ".join(name.lower() for name in IMAGE_FORMATS)
        raise MediaRefused(f"the picture cannot be read; known formats: {known}") from error
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def audio_from_base64(data: str, form: str, limits: Limits) -> NDArray[np.float32]:
    """Base64 of a sound file -> mono float32 at 16 kHz. Raises MediaRefused."""
    if form not in AUDIO_FORMATS:
        raise MediaRefused(f"unknown sound format {form!r}; known: {', '.join(AUDIO_FORMATS)}")
    content = decode_base64(data, limits)
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            rate = file.samplerate
            if rate < 1 or file.frames > limits.audio_seconds * rate:
                seconds = file.frames / max(rate, 1)
                raise MediaRefused(f"the sound lasts {seconds:.1f} s, more than {limits.audio_seconds:g} s")
            # a header may understate its length: never read past the cap
            wave = file.read(int(limits.audio_seconds * rate) + 1, dtype="float32", always_2d=True).mean(axis=1)
    except soundfile.SoundFileError as error:
        raise MediaRefused(f"the sound cannot be read as {form}") from error
    if not len(wave):
        raise MediaRefused("the sound is empty")
    shared = gcd(rate, SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        wave = resample_poly(wave, SAMPLE_RATE // shared, rate // shared)
    return np.clip(np.nan_to_num(np.ascontiguousarray(wave, np.float32)), -1.0, 1.0)


def decode_base64(text: str, limits: Limits) -> bytes:
    """Base64 -> bytes, refused by length before it is decoded."""
    if len(text) > limits.medium_bytes * 4 // 3 + 4:
        raise MediaRefused(f"larger than {limits.medium_bytes / 1024 / 1024:g} MiB")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MediaRefused("not valid base64") from error
    if not data:
        raise MediaRefused("empty")
    return data


def image_to_url(image: Image.Image) -> str:
    """A picture as a PNG data URL."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def audio_to_base64(wave: Any) -> str:
    """A mono 16 kHz waveform as the base64 of a 16-bit WAV file."""
    buffer = io.BytesIO()
    samples = np.clip(np.nan_to_num(np.asarray(wave, np.float32).reshape(-1)), -1.0, 1.0)
    soundfile.write(buffer, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return base64.b64encode(buffer.getvalue()).decode()
