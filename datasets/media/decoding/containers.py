"""Opens video and audio containers with FFmpeg, selects the tracks that a player plays, and decodes their packets."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import av
import av.error

from codi2_datasets.media import MediaError
from codi2_datasets.media.decoding.raster import one_line

# Demuxers of FFmpeg. None that can refer to other files, as playlists do.
FORMATS = "mov,matroska,webm,avi,ogg,mpegts,mpeg,mpegvideo,flv,asf"
AUDIO_FORMATS = f"{FORMATS},mp3,aac,flac,wav,w64,aiff,au,caf,amr,wv,ape"
# Tracks that are no video: a cover, the thumbnails of chapters
COVERS = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
# Tracks made for particular listeners, beside the main one
SPECIAL = (
    av.stream.Disposition.comment | av.stream.Disposition.hearing_impaired | av.stream.Disposition.visual_impaired
    | av.stream.Disposition.descriptions | av.stream.Disposition.dub | av.stream.Disposition.karaoke
    | av.stream.Disposition.dependent
)  # fmt: skip


@contextmanager
def opened(payload: bytes, formats: str = FORMATS) -> Iterator[Any]:
    """The file as a PyAV container. Errors within the block are also raised as MediaError."""
    try:
        with av.open(io.BytesIO(payload), "r", options={"format_whitelist": formats}) as container:
            yield container
    except MediaError:
        raise
    except Exception as error:  # FFmpegError, and errors of PyAV for values that no valid file has
        raise MediaError(f"damaged or unknown video or audio: {one_line(error)}") from error


def video_track(container: Any) -> Any:
    """The video track that a player shows: not a cover; one with motion first, then the default track, then the first.

    Raises MediaError if there is none.
    """
    tracks = [track for track in container.streams.video if not track.disposition & COVERS]
    if not tracks:
        raise MediaError("no video, only a cover image" if container.streams.video else "no video track")
    best = min(tracks, key=lambda track: (track.frames == 1, not is_default(track), track.index))
    if best.codec_context is None:
        raise MediaError("the coding of the video is unknown")
    return best


def audio_track(container: Any) -> Any:
    """The audio track that a player plays: for all listeners first, then the default track, then the first.

    Raises MediaError.
    """
    tracks = [track for track in container.streams.audio if track.codec_context is not None]
    if not tracks:
        raise MediaError("the coding of the audio is unknown" if container.streams.audio else "no audio track")
    return min(tracks, key=lambda track: (bool(track.disposition & SPECIAL), not is_default(track), track.index))


def is_default(track: Any) -> bool:
    return bool(track.disposition & av.stream.Disposition.default)


def tracks_of(payload: bytes) -> set[str]:
    """'video' if a container has video that can be shown, 'audio' if it has audio. Raises MediaError.

    A single frame beside audio is a cover, even if it is not marked as one.
    """
    with opened(payload) as container:
        tracks = {}
        for kind, choose in (("video", video_track), ("audio", audio_track)):
            try:
                tracks[kind] = choose(container)
            except MediaError:
                continue
        if len(tracks) == 2 and tracks["video"].frames == 1:
            del tracks["video"]
        return set(tracks)


def decoded(container: Any, track: Any, decode: Callable[[Any], list[Any]] | None = None) -> Iterator[Any]:
    """The frames of a track in presentation order.

    Packets that cannot be decoded before the first frame are skipped: a recording may start within a group of
    pictures.
    """
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
