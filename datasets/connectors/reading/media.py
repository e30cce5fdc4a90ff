"""Media of a published corpus: what they are, told from their first bytes, and where they lie."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import av
import av.error
import numpy as np
import soundfile
from PIL import Image, UnidentifiedImageError

from codi2_datasets.connectors.reading.values import Bad
from codi2_datasets.media import MediaError
from codi2_datasets.media.image import MAX_PIXELS
from codi2_datasets.media.video import decoded

PICTURES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "svg")
SOUNDS = ("flac", "wav", "ogg", "oga", "opus", "mp3", "aac", "m4a")
CLIPS = ("mp4", "webm", "mkv", "avi", "mov")
ENDINGS = {"image": PICTURES, "audio": SOUNDS, "video": CLIPS}
SIGNS = (
    (b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF8", "image/gif"), (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"), (b"MM\x00*", "image/tiff"), (b"fLaC", "audio/flac"), (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"), (b"\xff\xfb", "audio/mpeg"), (b"\xff\xf3", "audio/mpeg"), (b"\xff\xf2", "audio/mpeg"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)  # fmt: skip
RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
CONTAINERS = ("video/mp4", "video/webm", "video/x-msvideo", "audio/mp4")  # whose sound libsndfile cannot read
MOST_SECONDS = 60  # of sound taken out of a container
CUT_OUT = (0.05, 0.95)  # share of a picture that is seen, for it to count as cut out


@dataclass(frozen=True)
class Medium:
    data: bytes
    media_type: str
    place: str = ""
    """The file, or the tar and its member, as locators name it."""

    @property
    def modality(self) -> str:
        return self.media_type.partition("/")[0]


def media_type_of(data: bytes) -> str:
    """The media type that the first bytes tell; '' for what is no medium."""
    if data[:4] == b"RIFF":
        return RIFF.get(data[8:12], "")
    if data[4:8] == b"ftyp":
        return "audio/mp4" if data[8:11] == b"M4A" else "video/mp4"
    for sign, media_type in SIGNS:
        if data.startswith(sign):
            return media_type
    return "image/svg+xml" if b"<svg" in data[:1024] else ""


def medium(data: bytes | None, place: str, wanted: Sequence[str] = ("image", "audio", "video")) -> Medium | Bad:
    """The bytes as a medium of one of the wanted modalities. Sound in a container that holds pictures too, or that
    libsndfile cannot read, is taken out as WAV where sound alone is wanted."""
    if not data:
        return Bad("an empty file")
    media_type = media_type_of(data)
    if not media_type:
        return Bad("no medium")
    if media_type in CONTAINERS and (media_type.startswith("audio") or tuple(wanted) == ("audio",)):
        try:
            return Medium(sound_of(data), "audio/wav", place)
        except MediaError as error:
            return Bad(f"no sound: {error}")
    found = Medium(data, media_type, place)
    return found if found.modality in wanted else Bad(f"{found.modality}, not {' or '.join(wanted)}")


def sound_of(container: bytes) -> bytes:
    """WAV of the first sound of an MP4, WebM and the like. Raises MediaError."""
    pieces: list[np.ndarray] = []
    try:
        with av.open(io.BytesIO(container), "r") as source:
            if not source.streams.audio:
                raise MediaError("the clip is silent")
            rate = int(source.streams.audio[0].codec_context.sample_rate or 0)
            resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
            for frame in source.decode(source.streams.audio[0]):
                pieces += [part.to_ndarray().reshape(-1) for part in resampler.resample(frame)]
                if sum(map(len, pieces)) > MOST_SECONDS * rate:
                    break
    except MediaError:
        raise
    except (av.error.FFmpegError, ValueError, OverflowError, MemoryError) as error:
        raise MediaError(f"damaged or unknown: {' '.join(str(error).split())}") from error
    if not pieces:
        raise MediaError("no samples")
    buffer = io.BytesIO()
    soundfile.write(buffer, np.concatenate(pieces)[: MOST_SECONDS * rate], rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def still_of(clip: bytes, at: float = 0.5) -> bytes | None:
    """PNG of the frame at that share of a clip's frames; None where it has none."""
    try:
        total = sum(1 for _ in decoded(clip))
        for number, frame in enumerate(decoded(clip)):
            if number == int(total * at):
                buffer = io.BytesIO()
                frame.to_image().save(buffer, "PNG", compress_level=1)
                return buffer.getvalue()
    except MediaError:
        pass
    return None


def is_cut_out(found: Medium) -> bool:
    """Whether a picture shows a thing on nothing: a part of it, and not all, is transparent."""
    if found.media_type not in ("image/png", "image/webp"):
        return False
    try:
        with Image.open(io.BytesIO(found.data)) as picture:
            if not picture.has_transparency_data or picture.width * picture.height > MAX_PIXELS:
                return False
            seen = np.asarray(picture.convert("RGBA"))[..., 3] > 127
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return False
    return CUT_OUT[0] < float(seen.mean()) < CUT_OUT[1]
