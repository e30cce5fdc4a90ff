"""Rows of captioned audio; a video with sound also gives the video and its middle frame."""

from __future__ import annotations

from typing import Any

from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.media import MediaError
from codi2_datasets.readers.base import CorpusLocation
from codi2_datasets.readers.media import RawMedium, sound_of, still_of
from codi2_datasets.readers.values import Bad


def heard(
    place: CorpusLocation,
    locator: str,
    media: RawMedium,
    caption: str,
    attributes: dict[str, Any],
    licence: str,
    author: str = "",
) -> list[SourceRow] | Bad:
    """One audio row; for a video with sound, three rows that share the attribute `pair`."""
    if not caption:
        return Bad("no caption")

    def row(name: str, modality: str, payload: bytes, media_type: str, **more: Any) -> SourceRow:
        return SourceRow(place.corpus, name, modality, payload, media_type, licence, author or "unknown",
                         caption, {**attributes, **more})  # fmt: skip

    if media.modality == "audio":
        return [row(locator, "audio", media.data, media.media_type, kind="sound")]
    try:
        sound = sound_of(media.data)
    except MediaError as error:
        return Bad(str(error))
    rows = [
        row(f"{locator}/sound", "audio", sound, "audio/wav", kind="sound", pair=locator),
        row(f"{locator}/clip", "video", media.data, media.media_type, kind="clip", pair=locator),
    ]
    if still := still_of(media.data):
        rows.append(row(f"{locator}/still", "image", still, "image/png", kind="photo", pair=locator))
    return rows


def youtube_names(video: str, start: float | None, end: float | None = None) -> list[str]:
    """The file names commonly used for a ten-second segment of a video."""
    if not video:
        return []
    names = [video, f"Y{video}"]
    if start is not None:
        whole = int(start)
        stop = end if end is not None else start + 10
        names += [
            f"{video}_{whole}", f"{video}_{whole:06d}", f"{video}_{start:g}", f"{video}_{start:.3f}",
            f"{video}_{whole}_{int(stop)}", f"{video}_{int(start * 1000)}_{int(stop * 1000)}",
            f"{video}_{start:.3f}_{stop:.3f}",
        ]  # fmt: skip
    return names
