"""Small real media for the fixtures: pictures of shapes, tones, and clips with sound; the same bytes every time."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import soundfile
from PIL import Image, ImageDraw

COLOURS = ("firebrick", "gold", "seagreen", "royalblue", "orchid", "sienna", "teal", "coral", "slateblue", "olive")
SHAPES = ("ellipse", "rectangle", "polygon")


def picture(n: int, side: int = 96, sky: str | None = None) -> Image.Image:
    """A scene that no other number has: ground, sky and a thing of one shape and colour."""
    image = Image.new("RGB", (side, side * 3 // 4), sky or ("lightcyan", "lavender", "mistyrose")[n % 3])
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, side // 2, side, side), fill=(90 + 7 * n % 90, 150, 60 + 11 * n % 120))
    pen.ellipse(box(n, side), fill=COLOURS[n % len(COLOURS)])
    pen.line((0, n % side, side, side - n % side), fill="black", width=1 + n % 3)
    return image


def box(n: int, side: int = 96) -> tuple[int, int, int, int]:
    """Where the thing of a picture is, in pixels."""
    left = side // 8 + (5 * n) % (side // 4)
    return left, side // 5, left + side * 2 // 5, side // 5 + side * 2 // 5


def encoded(image: Image.Image, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def jpeg(n: int, **changes: Any) -> bytes:
    return encoded(picture(n, **changes))


def cut_out(n: int) -> bytes:
    """PNG of a thing on nothing."""
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((8, 8, 40 + n, 56), fill=COLOURS[n % len(COLOURS)])
    return encoded(image, "PNG")


def tone(n: int, seconds: float = 1.0, kind: str = "WAV") -> bytes:
    """A tone and a little noise, each number its own."""
    time = np.arange(round(16_000 * seconds)) / 16_000
    noise = np.random.default_rng(n).standard_normal(len(time)) * 0.02
    buffer = io.BytesIO()
    soundfile.write(
        buffer, 0.4 * np.sin(2 * np.pi * (200 + 37 * n) * time) * np.exp(-time) + noise, 16_000, format=kind
    )
    return buffer.getvalue()


def clip(n: int, sound: bool = True, frames: int = 12) -> bytes:
    """MP4 of a thing that moves, with a tone."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        video = container.add_stream(
            "libx264", rate=8, options={"threads": "1", "x264-params": "threads=1:cpu-independent=1"}
        )
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        audio = container.add_stream("aac", rate=16_000, layout="mono") if sound else None
        for k in range(frames):
            image = Image.new("RGB", (64, 64), "white")
            pen = ImageDraw.Draw(image)
            pen.rectangle((0, 64 - n, 64, 64), fill="black")  # no other number has ground so high
            pen.ellipse((2 * k, 10, 24 + 2 * k, 40), fill=COLOURS[n % len(COLOURS)])
            container.mux(video.encode(av.VideoFrame.from_image(image)))
        container.mux(video.encode(None))
        if audio is not None:
            wave = (0.4 * np.sin(2 * np.pi * (300 + 41 * n) * np.arange(24_000) / 16_000)).astype(np.float32)
            for start in range(0, 23_552, 1024):
                frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="flt", layout="mono")
                frame.rate, frame.pts = 16_000, start
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return buffer.getvalue()


def write(path: Path, content: bytes | str | dict | list) -> Path:
    """A file with its folders; plain data as JSON, .gz and .zst packed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = json.dumps(content) if isinstance(content, dict | list) else content
    raw = data.encode() if isinstance(data, str) else data
    if path.suffix == ".gz":
        raw = gzip.compress(raw, mtime=0)
    elif path.suffix == ".zst":
        raw = pa.Codec("zstd").compress(raw, asbytes=True)
    path.write_bytes(raw)
    return path


def tar(path: Path, members: list[tuple[str, bytes | str | dict]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            data = json.dumps(content) if isinstance(content, dict) else content
            raw = data.encode() if isinstance(data, str) else data
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return path
