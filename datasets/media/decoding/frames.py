"""Frames of videos and animations as a player shows them: upright, with true aspect ratio, colours and times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any

import av
import numpy as np
from PIL import Image

from codi2_datasets.media import MediaError
from codi2_datasets.media.decoding.colour import over_white
from codi2_datasets.media.decoding.containers import decoded, opened, video_track
from codi2_datasets.media.decoding.media_types import media_type_of
from codi2_datasets.media.decoding.orientation import upright
from codi2_datasets.media.decoding.raster import check_size, load, open_checked, pillow_errors

SHORTEST_FRAME = 0.011  # seconds; browsers treat a shorter GIF delay as unset, and use the next value
USUAL_FRAME = 0.1
DISCONTINUITY = 10.0  # seconds by which the clock of a broadcast must jump to count as reset
OBLONG = 16  # a pixel aspect ratio beyond this, in either direction, is invalid
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders of these codecs drop transparency
HIGH_DEFINITION = (1280, 577)  # width or height from which on players take untagged colours as BT.709
UNSPECIFIED, BT601 = 2, (2, 5, 6)  # values of FFmpeg's colour space
FULL_RANGE = 2  # value of FFmpeg's colour range


@dataclass(frozen=True)
class Timed:
    """A frame with its time. Call `image` only for frames that are used, and before requesting the next frame."""

    end: float
    """Seconds from the start at which the next frame replaces it; for a frame that is never visible, the end of the
    one before.
    """
    image: Callable[[], Image.Image]
    """RGB, on white."""


def frames_of(payload: bytes) -> Iterator[Timed]:
    """The frames of a video file or an animated image, distinguished by their first bytes. Raises MediaError."""
    return animation(payload) if media_type_of(payload).startswith("image/") else video(payload)


def frame_at(payload: bytes, share: float) -> Image.Image:
    """The frame shown at this share of the duration. Raises MediaError."""
    end = max((frame.end for frame in frames_of(payload)), default=0.0)
    for frame in frames_of(payload):
        if frame.end > share * end or frame.end >= end:
            return frame.image()
    raise AssertionError("a clip without frames is an error of its reader")


# --- animated images -------------------------------------------------------------------------------------------------


def animation(payload: bytes) -> Iterator[Timed]:
    """The frames of an animated image. Raises MediaError."""
    with pillow_errors(payload):
        image = open_checked(payload)
        orientation = load(image)
        # the first image of an animated PNG may be a fallback that is not part of the animation
        first = 1 if image.info.get("default_image") and getattr(image, "n_frames", 1) > 1 else 0
        end = 0.0
        for index in range(first, getattr(image, "n_frames", 1)):
            image.seek(index)
            image.load()
            seconds = float(image.info.get("duration", 0)) / 1000
            end += seconds if seconds >= SHORTEST_FRAME else USUAL_FRAME
            yield Timed(end, lambda: upright(over_white(image), orientation))


# --- video -----------------------------------------------------------------------------------------------------------


def video(payload: bytes) -> Iterator[Timed]:
    """The frames of a video file, each until the time stamp of the next. Raises MediaError."""
    with opened(payload) as container:
        track = video_track(container)
        track.codec_context.thread_count = 1
        check_size(track.codec_context.width, track.codec_context.height)
        clock, shape = Clock.of(container, track), partial(shown, aspect=pixel_aspect(track))
        held = None
        for frame in decoded(container, track, alpha_decoder(track)):
            check_size(frame.width, frame.height)
            begin = clock.begin_of(frame)
            if held is not None:
                yield Timed(begin, partial(shape, held))
            held = frame
        if held is not None:
            yield Timed(clock.end, partial(shape, held))


def is_plain_video(payload: bytes) -> bool:
    """Whether frames are shown as stored: not rotated, square pixels, 8-bit 4:2:0 in BT.601, even sides.

    Raises MediaError.
    """
    with opened(payload) as container:
        track = video_track(container)
        frame = next(decoded(container, track), None)
        if frame is None:
            raise MediaError("no frames")
        coded = frame.format.name == "yuv420p" and frame.colorspace in BT601 and frame.color_range != FULL_RANGE
        return (
            coded
            and frame.width % 2 == frame.height % 2 == 0
            and pixel_aspect(track) == 1
            and not frame.side_data.get("DISPLAYMATRIX")
            and untagged_space(frame) is None
        )


def alpha_decoder(track: Any) -> Callable[[Any], list[Any]] | None:
    """A decoder that returns transparency, for a track marked as having it; else None."""
    name = ALPHA_DECODERS.get(track.codec_context.name)
    if track.metadata.get("alpha_mode") != "1" or name is None:
        return None
    return av.VideoCodecContext.create(name, "r").decode  # type: ignore[attr-defined]


@dataclass
class Clock:
    """Seconds since the first frame, never decreasing, from time stamps that may be missing, unordered or reset."""

    frame_seconds: float
    """Duration of a frame for which the file gives none."""
    resets: bool
    """Whether the format allows time stamps to jump, as in transport streams that were joined."""
    start: float | None = None
    begin: float = 0.0
    end: float = 0.0
    """When the latest frame ends, unless another starts before."""

    @classmethod
    def of(cls, container: Any, track: Any) -> Clock:
        rate = track.average_rate or track.guessed_rate
        resets = bool(container.format.flags & av.format.Flags.ts_discont.value)
        return cls(float(1 / rate) if rate else USUAL_FRAME, resets)

    def begin_of(self, frame: Any) -> float:
        """When the next frame starts."""
        stamp = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)
        if stamp is None:
            self.begin = self.end
        elif self.start is None:
            self.start, self.begin = stamp - self.end, self.end
        else:
            self.begin = self._continued(stamp)
        lasts = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else self.frame_seconds
        self.end = self.begin + lasts
        return self.begin

    def _continued(self, stamp: float) -> float:
        assert self.start is not None
        begin = stamp - self.start
        if self.resets and abs(begin - self.end) > DISCONTINUITY:
            self.start = stamp - self.end
            return self.end
        return max(begin, self.begin)


def pixel_aspect(track: Any) -> Fraction:
    """Width of a pixel divided by its height; 1 if the file gives no value or an invalid one."""
    aspect = track.sample_aspect_ratio or track.codec_context.sample_aspect_ratio
    return aspect if aspect and 1 / OBLONG <= aspect <= OBLONG else Fraction(1)


def shown(frame: Any, aspect: Fraction = Fraction(1)) -> Image.Image:
    """A decoded frame as RGB on white, with square pixels, rotated by its display matrix."""
    image = rgb(frame)
    if aspect != 1:
        width, height = frame.width, frame.height
        size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
        check_size(*size)
        image = image.resize(size, Image.Resampling.LANCZOS)
    matrix = frame.side_data.get("DISPLAYMATRIX")
    turn = turn_of(np.frombuffer(matrix, np.int32)) if matrix else None
    return image if turn is None else image.transpose(turn)


def rgb(frame: Any) -> Image.Image:
    """The pixels of a decoded frame, RGB on white."""
    if has_alpha(frame.format.name):
        return over_white(Image.fromarray(frame.to_ndarray(format="rgba")))
    return frame.to_image(src_colorspace=untagged_space(frame))


def untagged_space(frame: Any) -> str | None:
    """The colour space to assume for an untagged frame; None for FFmpeg's default, BT.601."""
    large = frame.width >= HIGH_DEFINITION[0] or frame.height >= HIGH_DEFINITION[1]
    return "ITU709" if large and frame.colorspace == UNSPECIFIED and not frame.format.is_rgb else None


@lru_cache(maxsize=64)
def has_alpha(pixel_format: str) -> bool:
    return any(component.is_alpha for component in av.VideoFormat(pixel_format).components)


def turn_of(matrix: np.ndarray) -> Image.Transpose | None:
    """The nearest quarter turn or flip of a display matrix (a b u, c d v, x y w): x' = ax + cy, y' = bx + dy."""
    a, b, _, c, d = (int(value) for value in matrix[:5])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return {
            (False, False): None,
            (True, False): Image.Transpose.FLIP_LEFT_RIGHT,
            (False, True): Image.Transpose.FLIP_TOP_BOTTOM,
            (True, True): Image.Transpose.ROTATE_180,
        }[a < 0, d < 0]
    return {
        (False, False): Image.Transpose.TRANSPOSE,
        (True, False): Image.Transpose.ROTATE_270,
        (False, True): Image.Transpose.ROTATE_90,
        (True, True): Image.Transpose.TRANSVERSE,
    }[c < 0, b < 0]
