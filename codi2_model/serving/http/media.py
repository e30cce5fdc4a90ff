"""Decoding of media in requests and encoding of media in replies, with size limits.

Limits are checked on the encoded length, then on the header of the file, then while it is decoded, because a header may be
wrong. Images and videos are scaled down to the largest size that a model could use.
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
SIDE = 1024  # maximum of an image's longer side in pixels
VIDEO_SIDE = 256  # pixels of a video's side; videos are padded with white to squares
AUDIO_VALUES = 30_000_000  # maximum of samples times channels of an audio file, because a few bytes can decode to many
VIDEO_PIXELS = 2_000_000_000  # maximum of all pixels of a video's frames


class MediaRefused(ValueError):
    """A medium is malformed, unknown or too large. The message is sent to the client."""


@dataclass(frozen=True)
class Limits:
    """The limits of a request. Sizes are checked on the encoded bytes and on headers, before decoding."""

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


_HEAD = re.compile(r'data:(?:[^,"]|"[^"]*")*,', re.IGNORECASE)  # quoted parameters may contain commas
_QUOTED = re.compile(r'"[^"]*"')
LONGEST_HEAD = 2_000  # characters of a data URL before its data
# removes white space and converts the base64 alphabet for URLs to the standard one
_STANDARD = str.maketrans("-_", "+/", " \t\r\n\f")


def is_data_url(url: str) -> bool:
    return url.lstrip()[:5].lower() == "data:"


def bytes_of_url(url: str, kind: str, limits: Limits) -> bytes:
    """The bytes of a `data:` URL, parsed as browsers do: with any parameters, percent-encoded or in base64.

    The declared media type is ignored, because it is detected from the bytes. `kind`: the expected one, for the message.
    """
    url = url.strip()
    head = _HEAD.match(url[:LONGEST_HEAD])
    if head is None:
        raise MediaRefused(f"not a data URL; send data:{kind}/...;base64,...")
    body = url[head.end() :].partition("#")[0]
    parameters = _QUOTED.sub("", head[0][:-1]).split(";")[1:]
    if any(parameter.strip().lower() == "base64" for parameter in parameters):
        return decode_base64(body, limits)
    if len(body) > 3 * limits.medium_bytes:
        raise _too_large(limits)
    return _not_empty(_percent_decoded(body))


def decode_base64(text: str, limits: Limits) -> bytes:
    """Decode base64 after a check of its length.

    Lines may be wrapped, padding may be missing, characters may be percent-encoded, and the alphabet may be that for URLs.
    """
    longest = limits.medium_bytes * 4 // 3 + 4
    if "%" in text and len(text) <= 3 * longest:
        text = _percent_decoded(text).decode("latin-1")
    text = text.translate(_STANDARD)
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
        raise MediaRefused("contains a lone surrogate, which is not valid Unicode") from None


def _not_empty(data: bytes) -> bytes:
    if not data:
        raise MediaRefused("empty")
    return data


def _too_large(limits: Limits) -> MediaRefused:
    return MediaRefused(f"larger than {limits.medium_bytes / 1024 / 1024:g} MiB")


def kind_of(data: bytes) -> str | None:
    """The modality of a file by its bytes: image, audio or video; None if it is none of them."""
    kind = media_type_of(data).partition("/")[0]
    if kind != "video":
        return kind if kind in ("image", "audio") else None
    try:
        return "video" if "video" in tracks_of(data) else "audio"
    except MediaError:
        return "video"


def read_medium(modality: str, data: bytes, limits: Limits) -> Any:
    """Decode a file to an RGB image, mono audio or video frames. Raises MediaRefused."""
    if len(data) > limits.medium_bytes:
        raise _too_large(limits)
    if modality == "image":
        return read_image(data, limits)
    return read_audio(data, limits) if modality == "audio" else read_video(data, limits)


def read_image(data: bytes, limits: Limits) -> Image.Image:
    """Decode an image to RGB on white, as viewers show it, with a longer side of at most `SIDE`."""
    try:
        image = decode_image(data, limits.image_pixels, IMAGE_FORMATS)
    except TooLarge as error:
        raise MediaRefused(f"the image has {error}") from error
    except MediaError as error:
        known = ", ".join(name.lower() for name in IMAGE_FORMATS)
        raise MediaRefused(f"the image cannot be read; known formats: {known}") from error
    image.thumbnail((SIDE, SIDE))  # does not enlarge smaller images
    return image


def read_audio(data: bytes, limits: Limits) -> NDArray[np.float32]:
    """Decode an audio file, or the audio of a video, to mono float32 at 16 kHz, scaled down if it would clip."""
    longest = limits.audio_seconds
    try:
        # one second more: a header may understate the length
        audio_limits = audio_files.Limits(longest + 1, longest, AUDIO_VALUES, AUDIO_RATES)
        wave, rate = audio_files.read_audio(data, audio_limits)
    except TooLarge as error:
        raise MediaRefused(f"the audio has {error}") from error
    except MediaError as error:
        media_type = media_type_of(data) or "unknown type"
        raise MediaRefused(
            f"the audio cannot be read ({media_type}); known formats: {', '.join(AUDIO_FORMATS)}"
        ) from error
    if len(wave) > longest * rate:
        raise MediaRefused(f"the audio is longer than {longest:g} s")
    return below_full(resample(wave, rate, SAMPLE_RATE))


def read_video(data: bytes, limits: Limits) -> NDArray[np.uint8]:
    """Decode a video or an animated image to (T, VIDEO_SIDE, VIDEO_SIDE, 3) at `VIDEO_FPS` frames per second."""
    frames: list[NDArray[np.uint8]] = []
    count = pixels = 0
    try:
        for frame in frames_of(data):
            count += 1
            if count > limits.video_frames:
                raise MediaRefused(f"the video has more than {limits.video_frames:,} frames")
            if not 0 <= frame.end <= limits.video_seconds:
                raise MediaRefused(f"the video is longer than {limits.video_seconds:g} s")
            due = ceil(round(frame.end * VIDEO_FPS, 6)) - len(frames)
            if due > 0:
                image = frame.image()
                pixels += image.width * image.height
                frames += [np.asarray(fit(image, VIDEO_SIDE))] * due
            if pixels > VIDEO_PIXELS:
                raise MediaRefused(f"the video has more than {VIDEO_PIXELS:,} pixels in all frames")
    except MediaRefused:
        raise
    except MediaError as error:
        raise MediaRefused(f"the video cannot be read: {error}") from error
    if not frames:
        raise MediaRefused("the video has no frames")
    return np.stack(frames)


# --- encoding ------------------------------------------------------------------------------------------------------


def image_to_url(image: Image.Image) -> str:
    """An image as a PNG data URL."""
    return f"data:image/png;base64,{encoded('image', image)}"


def video_to_url(frames: Any) -> str:
    """A video as an MP4 data URL."""
    return f"data:video/mp4;base64,{encoded('video', frames)}"


def encoded(modality: str, value: Any) -> str:
    """A medium as a PNG, WAV or MP4 file in base64."""
    return base64.b64encode(encode_medium(modality, value)[0]).decode()
