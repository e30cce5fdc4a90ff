"""Media in requests and replies: bytes <-> values, checked against caps before and while they are decoded.

Sizes are refused by the length of what was sent, then by what the file's header says, then by what it really holds, since
a header may lie. Values are small: pictures and clips are brought down to what a model could use at most.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from codi2_datasets.media import MediaError
from codi2_datasets.media.audio import resample
from codi2_datasets.media.image import fit
from codi2_datasets.media.video import animation, video
from codi2_datasets.sample import SAMPLE_RATE
from codi2_model.evaluation.outputs import encode_medium
from codi2_model.media import VIDEO_FPS

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
AUDIO_FORMATS = ("wav", "mp3", "flac", "ogg", "opus")
ANIMATED = (b"GIF8", b"RIFF", b"\x89PNG")
SIDE = 1024  # pixels of a kept picture's longer side
CLIP_SIDE = 256  # the same of a clip, which is kept square, on white
SOUND_VALUES = 30_000_000  # samples times channels of one sound: what a few compressed bytes can unfold to
CLIP_PIXELS = 2_000_000_000  # pixels of a clip's frames together


class MediaRefused(ValueError):
    """A medium that is malformed, unknown or too large; the message is for the client."""


@dataclass(frozen=True)
class Limits:
    """What a request may hold. Sizes are checked on the encoded bytes and on headers, before decoding."""

    body_bytes: int = 24 * 1024 * 1024
    medium_bytes: int = 8 * 1024 * 1024
    image_pixels: int = 4096 * 4096
    audio_seconds: float = 60.0
    video_seconds: float = 30.0
    video_frames: int = 2_000
    media: int = 16
    messages: int = 64
    text_characters: int = 32_000
    new_tokens: int = 512
    steps: int = 100


_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(;[\w-]+=[\w.+-]+)*;base64,", re.ASCII)


def bytes_of_url(url: str, kind: str, limits: Limits) -> bytes:
    """What a `data:` URL holds. `kind` is image, audio or video: what its media type must begin with."""
    match = _DATA_URL.match(url[:200])
    if match is None:
        raise MediaRefused(f"not a base64 data URL (data:{kind}/...;base64,... is expected)")
    if match["type"] and not match["type"].startswith(f"{kind}/") and match["type"] != "application/octet-stream":
        raise MediaRefused(f"the data URL holds {match['type']}, not {kind}")
    return decode_base64(url[match.end() :], limits)


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


def read_medium(modality: str, data: bytes, limits: Limits, form: str | None = None) -> Any:
    """The bytes of a file -> a value as conversations hold them. Raises MediaRefused."""
    if len(data) > limits.medium_bytes:
        raise MediaRefused(f"larger than {limits.medium_bytes / 1024 / 1024:g} MiB")
    if modality == "image":
        return read_image(data, limits)
    return read_audio(data, limits, form) if modality == "audio" else read_video(data, limits)


def read_image(data: bytes, limits: Limits) -> Image.Image:
    """A picture file -> RGB, upright, alpha over white, its longer side `SIDE` at most."""
    try:
        image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)  # reads the header alone
        if image.width * image.height > limits.image_pixels:
            size = f"{image.width} x {image.height}"
            raise MediaRefused(f"the picture has {size} pixels, more than {limits.image_pixels:,} in all")
        if max(image.size) > SIDE:
            image.draft("RGB", (SIDE, SIDE))
            image.thumbnail((SIDE, SIDE))
        rgba = ImageOps.exif_transpose(image).convert("RGBA")
    except MediaRefused:
        raise
    except Image.DecompressionBombError as error:
        raise MediaRefused(f"the picture has more than {limits.image_pixels:,} pixels") from error
    except Exception as error:  # the decoders of Pillow have no error of their own for damaged files
        known = ", ".join(name.lower() for name in IMAGE_FORMATS)
        raise MediaRefused(f"the picture cannot be read; known formats: {known}") from error
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def read_audio(data: bytes, limits: Limits, form: str | None = None) -> NDArray[np.float32]:
    """A sound file -> mono float32 at 16 kHz."""
    if form is not None and form not in AUDIO_FORMATS:
        raise MediaRefused(f"unknown sound format {form[:20]!r}; known: {', '.join(AUDIO_FORMATS)}")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate = file.samplerate
            if not 1_000 <= rate <= 384_000:
                raise MediaRefused(f"the sound has {rate:,} samples a second")
            if file.frames > limits.audio_seconds * rate:
                seconds = file.frames / rate
                raise MediaRefused(f"the sound lasts {seconds:.1f} s, more than {limits.audio_seconds:g} s")
            # a header may understate its length: never read past the cap
            most = min(int(limits.audio_seconds * rate) + 1, SOUND_VALUES // file.channels)
            wave = file.read(most, dtype="float32", always_2d=True).mean(axis=1)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise MediaRefused(f"the sound cannot be read{f' as {form}' if form else ''}") from error
    if not len(wave):
        raise MediaRefused("the sound is empty")
    wave = resample(wave, rate, SAMPLE_RATE)
    return np.clip(np.nan_to_num(np.ascontiguousarray(wave, np.float32)), -1.0, 1.0)


def read_video(data: bytes, limits: Limits) -> NDArray[np.uint8]:
    """A clip, or an animated picture -> (T, CLIP_SIDE, CLIP_SIDE, 3), eight frames a second."""
    source = animation(data) if data.startswith(ANIMATED) and data[8:12] != b"AVI " else video(data)
    frames: list[NDArray[np.uint8]] = []
    seen = pixels = 0
    try:
        for frame in source:
            seen += 1
            if seen > limits.video_frames:
                raise MediaRefused(f"the clip has more than {limits.video_frames:,} frames")
            if not 0 <= frame.end <= limits.video_seconds:
                raise MediaRefused(f"the clip lasts longer than {limits.video_seconds:g} s")
            due = ceil(round(frame.end * VIDEO_FPS, 6)) - len(frames)
            if due > 0:
                picture = frame.picture()
                pixels += picture.width * picture.height
                frames += [np.asarray(fit(picture, CLIP_SIDE))] * due
            if pixels > CLIP_PIXELS:
                raise MediaRefused("the clip has too many pixels in all")
    except MediaRefused:
        raise
    except MediaError as error:
        raise MediaRefused(f"the clip cannot be read: {error}") from error
    if not frames:
        raise MediaRefused("the clip has no frames")
    return np.stack(frames)


# --- the way out ---------------------------------------------------------------------------------------------------


def image_to_url(image: Image.Image) -> str:
    """A picture as a PNG data URL."""
    return f"data:image/png;base64,{encoded('image', image)}"


def video_to_url(frames: Any) -> str:
    """A clip as an MP4 data URL."""
    return f"data:video/mp4;base64,{encoded('video', frames)}"


def encoded(modality: str, value: Any) -> str:
    """Base64 of a value's file: PNG, WAV or MP4."""
    return base64.b64encode(encode_medium(modality, value)[0]).decode()
