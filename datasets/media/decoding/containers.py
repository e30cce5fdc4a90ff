"""Containers of video and audio, opened with FFmpeg: which of their tracks a player plays, and their packets decoded."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import av
import av.error

from codi2_datasets.media import MediaError
from codi2_datasets.media.decoding.raster import one_line

# Demuxers of FFmpeg. None that can point to other files, as playlists do.
FORMATS = "mov,matroska,webm,avi,ogg,mpegts,mpeg,mpegvideo,flv,asf"
AUDIO_FORMATS = f"{FORMATS},mp3,aac,flac,wav,w64,aiff,au,caf,amr,wv,ape"
# Tracks that are no video: a cover, the thumbnails of chapters
COVERS = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
# Tracks that are made for some listeners, beside the one for all
SPECIAL = (
    av.stream.Disposition.comment | av.stream.Disposition.hearing_impaired | av.stream.Disposition.visual_impaired
    | av.stream.Disposition.descriptions | av.stream.Disposition.dub | av.stream.Disposition.karaoke
    | av.stream.Disposition.dependent
)  # fmt: skip


@contextmanager
def opened(payload: bytes, formats: str = FORMATS) -> Iterator[Any]:
    """The file as a PyAV container. What goes wrong within the block, too, is a MediaError."""
    try:
        with av.open(io.BytesIO(payload), "r", options={"format_whitelist": formats}) as container:
            yield container
    except MediaError:
        raise
    except Exception as error:  # FFmpegError, and what PyAV makes of values that no good file has
        raise MediaError(f"damaged or unknown video or audio: {one_line(error)}") from error


def video_track(container: Any) -> Any:
    """The track of video that a player shows: none that is a cover; one that moves; the one marked as the default; the
    first. Raises MediaError where there is none."""
    tracks = [track for track in container.streams.video if not track.disposition & COVERS]
    if not tracks:
        raise MediaError("no video, only a cover image" if container.streams.video else "no video track")
    best = min(tracks, key=lambda track: (track.frames == 1, not is_default(track), track.index))
    if best.codec_context is None:
        raise MediaError("the coding of the video is unknown")
    return best


def audio_track(container: Any) -> Any:
    """The track of audio that a player plays: one for everybody, marked as the default, the first. Raises MediaError."""
    tracks = [track for track in container.streams.audio if track.codec_context is not None]
    if not tracks:
        raise MediaError("the coding of the audio is unknown" if container.streams.audio else "no audio track")
    return min(tracks, key=lambda track: (bool(track.disposition & SPECIAL), not is_default(track), track.index))


def is_default(track: Any) -> bool:
    return bool(track.disposition & av.stream.Disposition.default)


def tracks_of(payload: bytes) -> set[str]:
    """'video' where a container has video that can be shown, 'audio' where it has audio; a single frame beside audio is a
    cover, even where it is not marked as one. Raises MediaError."""
    with opened(payload) as container:
        found = {}
        for kind, choose in (("video", video_track), ("audio", audio_track)):
            try:
                found[kind] = choose(container)
            except MediaError:
                continue
        if len(found) == 2 and found["video"].frames == 1:
            del found["video"]
        return set(found)


def decoded(container: Any, track: Any, decode: Callable[[Any], list[Any]] | None = None) -> Iterator[Any]:
    """The frames of a track in the order they are played. What cannot be decoded before the first is passed over: a
    recording may begin in the middle of a group of pictures."""
    decode, begun = decode or track.decode, False
    for packet in container.demux(track):
        try:
            frames = decode(packet)
        except av.error.InvalidDataError:
            if begun:
                raise
            continue
        for frame in frames:
            begun = True
            yield frame
