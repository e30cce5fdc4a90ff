"""Media as requests hold them, and back: what the server reads and writes, for tests."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codi2_model.serving.http.media import (
    Limits,
    bytes_of_url,
    decode_base64,
    encoded,
    read_audio,
    read_image,
    read_video,
)


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def audio_to_base64(wave: Any) -> str:
    return encoded("audio", wave)


def image_from_url(url: str, limits: Limits) -> Image.Image:
    return read_image(bytes_of_url(url, "image", limits), limits)


def audio_from_base64(data: str, limits: Limits) -> NDArray[np.float32]:
    return read_audio(decode_base64(data, limits), limits)


def video_from_url(url: str, limits: Limits) -> NDArray[np.uint8]:
    return read_video(bytes_of_url(url, "video", limits), limits)
