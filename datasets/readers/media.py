"""Media of a published corpus: type detection by first bytes, and extraction of audio and frames from videos."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile

from codi2_datasets.media import MediaError
from codi2_datasets.media.audio import FULL, below_full
from codi2_datasets.media.decoding.audio_files import Limits, read_audio
from codi2_datasets.media.decoding.containers import tracks_of
from codi2_datasets.media.decoding.frames import frame_at
from codi2_datasets.media.decoding.media_types import EXTENSIONS, media_type_of
from codi2_datasets.media.decoding.raster import decode
from codi2_datasets.readers.values import Bad

OTHER_NAMES = {  # besides the usual extension of a type
    "image": ("jpeg", "jpe", "jfif", "tiff", "heif"),
    "audio": ("oga", "opus", "m4b", "aif", "aifc"),
    "video": ("m4v", "mpeg", "mts", "m2ts"),
}
ENDINGS = {
    kind: (*(ending for name, ending in EXTENSIONS.items() if name.startswith(kind)), *others)
    for kind, others in OTHER_NAMES.items()
}
CLIPS = ENDINGS["video"]
AUDIO_ALONE = {  # media type of a video container that holds only audio; from other containers the audio is extracted
    "video/mp4": "audio/mp4", "video/quicktime": "audio/mp4", "video/3gpp": "audio/mp4", "video/webm": "audio/webm",
    "video/x-matroska": "audio/x-matroska", "video/x-ms-asf": "audio/x-ms-wma",
}  # fmt: skip
MOST_SECONDS = 60  # of audio extracted from a container
CUT_OUT = (0.05, 0.95)  # visible share of an image for it to count as a cut-out
TRANSPARENT = ("image/png", "image/webp", "image/gif", "image/avif", "image/tiff")


@dataclass(frozen=True)
class RawMedium:
    data: bytes
    media_type: str
    place: str = ""
    """The file, or the tar and its member, as in locators."""

    @property
    def modality(self) -> str:
        return self.media_type.partition("/")[0]


def medium(data: bytes | None, place: str, wanted: Sequence[str] = ("image", "audio", "video")) -> RawMedium | Bad:
    """The bytes as a medium of one of the wanted modalities; Bad with the reason otherwise."""
    if not data:
        return Bad("an empty file")
    media_type = media_type_of(data)
    if not media_type:
        return Bad("no medium")
    if media_type.startswith("video/"):
        return of_container(data, media_type, place, wanted)
    made = RawMedium(data, media_type, place)
    return made if made.modality in wanted else Bad(f"{made.modality}, not {' or '.join(wanted)}")


def of_container(data: bytes, media_type: str, place: str, wanted: Sequence[str]) -> RawMedium | Bad:
    """A container without video, or with a cover only, is audio; from one with video the audio is extracted as WAV if
    only audio is wanted.
    """
    if not {"audio", "video"} & set(wanted):
        return Bad(f"video, not {' or '.join(wanted)}")
    try:
        tracks = tracks_of(data)
        if "video" in wanted and "video" in tracks:
            return RawMedium(data, media_type, place)
        if "audio" not in wanted or "audio" not in tracks:
            return Bad(f"no {' or '.join(kind for kind in ('audio', 'video') if kind in wanted)} in it")
        if "video" not in tracks and media_type in AUDIO_ALONE:
            return RawMedium(data, AUDIO_ALONE[media_type], place)
        return RawMedium(sound_of(data), "audio/wav", place)
    except MediaError as error:
        return Bad(str(error))


def sound_of(container: bytes) -> bytes:
    """WAV of the audio of an MP4, WebM and similar, mono. Raises MediaError."""
    samples, rate = read_audio(container, Limits(MOST_SECONDS))
    steps = np.clip(np.rint(below_full(samples) * FULL), -FULL, FULL - 1).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, steps, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def still_of(clip: bytes, at: float = 0.5) -> bytes | None:
    """PNG of the frame at that share of a video's duration; None if it has no video."""
    try:
        image = frame_at(clip, at)
    except MediaError:
        return None
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def is_cut_out(candidate: RawMedium) -> bool:
    """Whether an image is a cut-out: partly, but not entirely, transparent."""
    if candidate.media_type not in TRANSPARENT:
        return False
    try:
        image = decode(candidate.data)
    except MediaError:
        return False
    if image.mode != "RGBA":
        return False
    return CUT_OUT[0] < float((np.asarray(image)[..., 3] > 127).mean()) < CUT_OUT[1]
