"""Media in requests and replies: bytes <-> values, checked against caps before and while they are decoded.

Sizes are refused by the length of what was sent, then by what the file's header says, then by what it really holds, since
a header may lie. Values are small: images and videos are brought down to what a model could use at most.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from math import ceil
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codi2_datasets.formats.sample import SAMPLE_RATE
from codi2_datasets.media import MediaError, TooLarge
from codi2_datasets.media.audio import below_full
from codi2_datasets.media.decoding import audio_files
from codi2_datasets.media.decoding.containers import tracks_of
from codi2_datasets.media.decoding.frames import frames_of
from codi2_datasets.media.decoding.media_types import media_type_of
from codi2_datasets.media.image import decode_image, fit
from codi2_datasets.media.resampling import resample
from codi2_model.evaluation.report.outputs import encode_medium
from codi2_model.modules.media import VIDEO_FPS

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
AUDIO_FORMATS = ("wav", "mp3", "flac", "ogg", "opus", "aac", "m4a", "webm")
AUDIO_RATES = range(1_000, 384_001)  # Hz
SIDE = 1024  # pixels of a kept image's longer side
CLIP_SIDE = 256  # the same of a video, which is kept square, on white
SOUND_VALUES = 30_000_000  # samples times channels of one audio file: what a few compressed bytes can unfold to
CLIP_PIXELS = 2_000_000_000  # pixels of a video's frames together


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


_HEAD = re.compile(r'data:(?:[^,"]|"[^"]*")*,', re.IGNORECASE)  # parameters may be quoted, and hold commas then
_QUOTED = re.compile(r'"[^"]*"')
LONGEST_HEAD = 2_000  # characters of a data URL before its data
# Blanks and the ends of wrapped lines go; the alphabet for URLs becomes the usual one
_USUAL = str.maketrans("-_", "+/", " \t\r\n\f")


def is_data_url(url: str) -> bool:
    return url.lstrip()[:5].lower() == "data:"


def bytes_of_url(url: str, kind: str, limits: Limits) -> bytes:
    """What a `data:` URL holds, read as browsers do: with any parameters, percent-encoded or in base64. The media type that it
    claims is not believed: the bytes say what they are. `kind` is what is expected, for the message."""
    url = url.strip()
    head = _HEAD.match(url[:LONGEST_HEAD])
    if head is None:
        raise MediaRefused(f"not a data URL (data:{kind}/...;base64,... is expected)")
    body = url[head.end() :].partition("#")[0]
    parameters = _QUOTED.sub("", head[0][:-1]).split(";")[1:]
    if any(one.strip().lower() == "base64" for one in parameters):
        return decode_base64(body, limits)
    if len(body) > 3 * limits.medium_bytes:
        raise _too_large(limits)
    return _not_empty(_percent_decoded(body))


def decode_base64(text: str, limits: Limits) -> bytes:
    """Base64 -> bytes, refused by length before it is decoded. Lines may be wrapped, padding may be left out, signs may be
    percent-encoded, the alphabet may be the one for URLs."""
    longest = limits.medium_bytes * 4 // 3 + 4
    if "%" in text and len(text) <= 3 * longest:
        text = _percent_decoded(text).decode("latin-1")
    text = text.translate(_USUAL)
    if len(text) > longest:
        raise _too_large(limits)
    bare = text.rstrip("=")
    try:
        if len(text) - len(bare) > 2:
            raise ValueError("too much padding")
        data = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MediaRefused("not valid base64") from error
    return _not_empty(data)


def _percent_decoded(text: str) -> bytes:
    try:
        return unquote_to_bytes(text)
    except UnicodeEncodeError:
        raise MediaRefused("holds half a character (a lone surrogate)") from None


def _not_empty(data: bytes) -> bytes:
    if not data:
        raise MediaRefused("empty")
    return data


def _too_large(limits: Limits) -> MediaRefused:
    return MediaRefused(f"larger than {limits.medium_bytes / 1024 / 1024:g} MiB")


def kind_of(data: bytes) -> str | None:
    """image, audio or video, as the bytes of a file say; None for what is none of them."""
    kind = media_type_of(data).partition("/")[0]
    if kind != "video":
        return kind if kind in ("image", "audio") else None
    try:
        return "video" if "video" in tracks_of(data) else "audio"
    except MediaError:
        return "video"


def read_medium(modality: str, data: bytes, limits: Limits) -> Any:
    """The bytes of a file -> a value as conversations hold them. Raises MediaRefused."""
    if len(data) > limits.medium_bytes:
        raise _too_large(limits)
    if modality == "image":
        return read_image(data, limits)
    return read_audio(data, limits) if modality == "audio" else read_video(data, limits)


def read_image(data: bytes, limits: Limits) -> Image.Image:
    """An image file -> RGB as a viewer shows it on white, its longer side `SIDE` at most."""
    try:
        image = decode_image(data, limits.image_pixels, IMAGE_FORMATS)
    except TooLarge as error:
        raise MediaRefused(f"the image has {error}") from error
    except MediaError as error:
        known = ", ".join(name.lower() for name in IMAGE_FORMATS)
        raise MediaRefused(f"the image cannot be read; known formats: {known}") from error
    image.thumbnail((SIDE, SIDE))  # leaves smaller ones as they are
    return image


def read_audio(data: bytes, limits: Limits) -> NDArray[np.float32]:
    """An audio file, or the audio of a video, -> mono float32 at 16 kHz, lowered where it would clip."""
    longest = limits.audio_seconds
    try:
        # one second more: a header may understate the length
        asked = audio_files.Limits(longest + 1, longest, SOUND_VALUES, AUDIO_RATES)
        wave, rate = audio_files.read_audio(data, asked)
    except TooLarge as error:
        raise MediaRefused(f"the audio has {error}") from error
    except MediaError as error:
        found = media_type_of(data) or "bytes of no known type"
        raise MediaRefused(f"the audio cannot be read ({found}); known formats: {', '.join(AUDIO_FORMATS)}") from error
    if len(wave) > longest * rate:
        raise MediaRefused(f"the audio lasts longer than {longest:g} s")
    return below_full(resample(wave, rate, SAMPLE_RATE))


def read_video(data: bytes, limits: Limits) -> NDArray[np.uint8]:
    """A video or an animated image -> (T, CLIP_SIDE, CLIP_SIDE, 3), eight frames a second."""
    frames: list[NDArray[np.uint8]] = []
    seen = pixels = 0
    try:
        for frame in frames_of(data):
            seen += 1
            if seen > limits.video_frames:
                raise MediaRefused(f"the video has more than {limits.video_frames:,} frames")
            if not 0 <= frame.end <= limits.video_seconds:
                raise MediaRefused(f"the video lasts longer than {limits.video_seconds:g} s")
            due = ceil(round(frame.end * VIDEO_FPS, 6)) - len(frames)
            if due > 0:
                image = frame.image()
                pixels += image.width * image.height
                frames += [np.asarray(fit(image, CLIP_SIDE))] * due
            if pixels > CLIP_PIXELS:
                raise MediaRefused("the video has too many pixels in all")
    except MediaRefused:
        raise
    except MediaError as error:
        raise MediaRefused(f"the video cannot be read: {error}") from error
    if not frames:
        raise MediaRefused("the video has no frames")
    return np.stack(frames)


# --- the way out ---------------------------------------------------------------------------------------------------


def image_to_url(image: Image.Image) -> str:
    """An image as a PNG data URL."""
    return f"data:image/png;base64,{encoded('image', image)}"


def video_to_url(frames: Any) -> str:
    """A video as an MP4 data URL."""
    return f"data:video/mp4;base64,{encoded('video', frames)}"


def encoded(modality: str, value: Any) -> str:
    """Base64 of a value's file: PNG, WAV or MP4."""
    return base64.b64encode(encode_medium(modality, value)[0]).decode()
