"""Video normalisation: animated images and video files -> square, silent H.264 MP4 on white, deterministic.

Colours are converted here in integers (BT.601, which browsers expect for small videos), not by FFmpeg's scaler, whose
last bit depends on the processor. One encoder thread, one key frame, and neither dates nor the encoder's name. Measured
for a Fluent emoji of 72 frames and 256 px to 24 frames of 64 px, on one core: 70 ms per video, half of it for decoding
WebP, which cannot skip frames; 12 kB.
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

from codi2_datasets.media import MediaError
from codi2_datasets.media.decoding.containers import decoded, opened, video_track
from codi2_datasets.media.decoding.frames import animation, video
from codi2_datasets.media.decoding.raster import check_size
from codi2_datasets.media.image import fit

ANIMATED_IMAGES = ("image/webp", "image/gif", "image/png", "image/apng", "image/avif")
MAX_SOURCE_FRAMES = 20_000
ENCODER = {"crf": "18", "preset": "medium", "threads": "1", "colorspace": "smpte170m", "color_range": "tv"}
# without the last option, the encoder's motion search sometimes differs by a bit: other bytes on every tenth run
SETTINGS = "keyint=infinite:scenecut=0:threads=1:cpu-independent=1"


class NormalisedVideo(NamedTuple):
    """An encoded video, its duration, and the sides (width, height) of the source as displayed."""

    data: bytes
    seconds: float
    source_size: tuple[int, int]


def normalise_video(
    payload: bytes, media_type: str, size: int = 64, fps: int = 8, max_seconds: float = 3.0
) -> NormalisedVideo:
    """Encode a video as `size` x `size` MP4 at `fps`: uncropped, centred, aspect ratio kept, transparency over white.

    Frame k shows what the source shows at k / fps seconds. Videos longer than `max_seconds` are cut there. Raises
    MediaError for files that are corrupt, empty, too large, or a single image.
    """
    source = animation(payload) if media_type in ANIMATED_IMAGES else video(payload)
    frames: list[np.ndarray] = []
    seen, end, source_size = 0, 0.0, (0, 0)
    for frame in source:
        seen, end = seen + 1, frame.end
        if seen > MAX_SOURCE_FRAMES:
            raise MediaError(f"more than {MAX_SOURCE_FRAMES:,} frames in {end:.1f} s")
        due = int(np.ceil(round(min(end, max_seconds) * fps, 6))) - len(frames)
        if due > 0:
            shown = frame.image()
            source_size = shown.size
            frames.extend([np.asarray(fit(shown, size))] * due)
        if end >= max_seconds and seen > 1:
            break
    if seen < 2:
        raise MediaError("a single image, not a clip" if seen else "no frames")
    return NormalisedVideo(encode_video(np.stack(frames), fps), len(frames) / fps, source_size)


# --- videos in the sample format ------------------------------------------------------------------------------------


def decode_video(data: bytes) -> np.ndarray:
    """All frames, (T, H, W, 3) uint8, of a file made by `encode_video`. Raises MediaError."""
    frames = []
    with opened(data) as container:
        track = video_track(container)
        track.codec_context.thread_count = 1
        check_size(track.codec_context.width, track.codec_context.height)
        for frame in decoded(container, track):
            check_size(frame.width, frame.height)
            if frame.width % 2 or frame.height % 2:
                raise MediaError(f"{frame.width} x {frame.height} pixels: not a clip of ours, whose sides are even")
            frames.append(to_rgb(frame.to_ndarray(format="yuv420p"), frame.height, frame.width))
    if not frames:
        raise MediaError("no frames")
    return np.stack(frames)


def at_moments(frames: np.ndarray, count: int) -> np.ndarray:
    """`count` evenly spaced frames including the first and the last; frames repeat in shorter videos."""
    if count == 1:
        return frames[len(frames) // 2][None]
    return frames[np.round(np.linspace(0, len(frames) - 1, count)).astype(int)]


def encode_video(frames: np.ndarray, fps: int = 8) -> bytes:
    """MP4 from (T, H, W, 3) uint8. Nearly lossless in luma, chroma at half the resolution.

    Raises ValueError for another shape, no frames, or odd sides.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ValueError(f"encode_video: wants (T, H, W, 3) uint8, not {frames.shape} {frames.dtype}")
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise ValueError(f"encode_video: {width} x {height}: sides must be even")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={**ENCODER, "x264-params": SETTINGS})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, fps)
        # type 6 is a note of 700 bytes with the encoder's name and settings
        notes = BitStreamFilterContext("filter_units=remove_types=6", stream)
        planes = [av.VideoFrame.from_ndarray(to_yuv(frame), format="yuv420p") for frame in frames]
        for index, plane in enumerate(planes):
            plane.pts, plane.time_base = index, Fraction(1, fps)
        packets = [packet for plane in (*planes, None) for packet in stream.encode(plane)]
        container.mux([kept for packet in packets for kept in notes.filter(packet)])
    return buffer.getvalue()


def to_yuv(rgb: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> the three planes of yuv420p stacked, (H * 3 / 2, W); BT.601, 16 to 235."""
    height, width = rgb.shape[:2]
    red, green, blue = np.moveaxis(rgb.astype(np.int32), 2, 0)
    luma = ((16_829 * red + 33_039 * green + 6_416 * blue + 32_768) >> 16) + 16
    # sums of four pixels each, hence 18 bits and not 16
    red, green, blue = (plane.reshape(height // 2, 2, width // 2, 2).sum(axis=(1, 3)) for plane in (red, green, blue))
    cb = ((-9_714 * red - 19_070 * green + 28_784 * blue + 131_072) >> 18) + 128
    cr = ((28_784 * red - 24_103 * green - 4_681 * blue + 131_072) >> 18) + 128
    planes = np.concatenate([plane.ravel() for plane in (luma, cb, cr)])
    return planes.astype(np.uint8).reshape(height * 3 // 2, width)


def to_rgb(yuv: np.ndarray, height: int, width: int) -> np.ndarray:
    """The inverse of `to_yuv`, except for rounding and for colour that changes within two pixels."""
    flat = yuv.reshape(-1).astype(np.int32)
    area = height * width
    luma = (flat[:area].reshape(height, width) - 16) * 76_309
    cb, cr = (
        (plane.reshape(height // 2, width // 2) - 128).repeat(2, axis=0).repeat(2, axis=1)
        for plane in (flat[area : area * 5 // 4], flat[area * 5 // 4 :])
    )
    channels = (luma + 104_597 * cr, luma - 25_675 * cb - 53_279 * cr, luma + 132_201 * cb)
    return np.clip(np.stack([(channel + 32_768) >> 16 for channel in channels], axis=2), 0, 255).astype(np.uint8)
