"""Samples from folders of other tools: what their format does not contain is filled in and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from codi2_datasets.exports.base import Loss, Reading
from codi2_datasets.formats.hashing import digest
from codi2_datasets.formats.sample import SAMPLE_RATE, SPLITS, Message, Sample
from codi2_datasets.media import MediaError
from codi2_datasets.media.audio import normalise_audio
from codi2_datasets.media.decoding.colour import is_plain
from codi2_datasets.media.decoding.frames import is_plain_video
from codi2_datasets.media.decoding.media_types import media_type_of
from codi2_datasets.media.decoding.raster import load, open_checked, pillow_errors
from codi2_datasets.media.image import decode_image, encode_image
from codi2_datasets.media.video import normalise_video

MAX_SECONDS = 600.0  # of audio and video; longer media are cut there
CLIP_SIDE, FPS = 256, 8  # for a video that has to be encoded again


class Unusable(ValueError):
    """A sample of another tool cannot be read. The message is the reason, short enough to count by."""


Made = TypeVar("Made")


def usable(place: str, loss: Loss, make: Callable[[], Made]) -> Iterator[Made]:
    """What is made from a row of another tool; if that fails, the row becomes a reject with its location."""
    try:
        yield make()
    except Unusable as error:
        loss.reject(place, str(error))
    except UnicodeEncodeError:
        loss.reject(place, "holds half a character (a lone surrogate)")
    except (KeyError, TypeError, AttributeError, ValueError, LookupError, StopIteration) as error:
        loss.reject(place, f"not as the format has it: {' '.join(str(error).split())[:200] or type(error).__name__}")


def sample_of(place: str, messages: Sequence[Message], split: str, reading: Reading, loss: Loss) -> Sample:
    """A sample of these messages. `place` is its unique location within the folder."""
    for name in ("sample id", "seed", "in-context role", "asset id"):
        loss.lost[f"{name} (not told)"] += 1
    loss.written += 1
    known = split if split in SPLITS else "train"
    name = digest([place, [[m.role, [[p.type, p.text, p.part] for p in m.content]] for m in messages]])[:32]
    return Sample(name, reading.task, known, tuple(messages), reading.licence, seed=0)  # type: ignore[arg-type]


def medium(kind: str, data: bytes | None) -> bytes:
    """A medium in the form of the sample format: WebP, mono FLAC at 16 kHz, MP4. One that is already so is unchanged.

    Raises Unusable if it is missing, cannot be read, or is a video in another container.
    """
    if not data:
        raise Unusable(f"{kind} that is not there")
    try:
        if kind == "image":
            image = decode_image(data)
            return data if is_plain_webp(data) else encode_image(image)
        if kind == "audio":
            again, _ = normalise_audio(data, SAMPLE_RATE, MAX_SECONDS)
            return data if is_ours(data) else again
        if media_type_of(data) != "video/mp4":
            raise Unusable(f"{kind} that is not MP4")
        return data if is_plain_video(data) else normalise_video(data, "video/mp4", CLIP_SIDE, FPS, MAX_SECONDS).data
    except MediaError as error:
        raise Unusable(f"{kind} that cannot be read") from error


def is_plain_webp(data: bytes) -> bool:
    """Whether an image is WebP whose pixels are displayed as stored."""
    with pillow_errors(data):
        image = open_checked(data)
        return image.format == "WEBP" and load(image) == 1 and is_plain(image)


def is_ours(data: bytes) -> bool:
    """Whether audio is FLAC at our rate with one channel, by its header: 20 bits of rate, then 3 of channels - 1."""
    head = int.from_bytes(data[18:21], "big")
    return data[:4] == b"fLaC" and head >> 4 == SAMPLE_RATE and (head >> 1) & 7 == 0
