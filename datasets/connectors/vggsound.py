"""VGGSound: ten-second videos in which one sound source is both heard and seen. CSV without a header.

Files are named {video}_{start, six digits}, .mp4 as published; audio alone is also accepted. Rows as for AudioSet.
Attributes: concept and family (the label), kind 'sound', 'clip' or 'photo', pair, video, start, half ('train' or
'test').
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.readers import listed
from codi2_datasets.readers.base import Connector, CorpusLocation
from codi2_datasets.readers.delimited import delimited_rows
from codi2_datasets.readers.media import RawMedium
from codi2_datasets.readers.sounds import heard, youtube_names
from codi2_datasets.readers.values import Bad, Numbered, known, number, text

LICENCE = "LicenseRef-VGGSound"
COLUMNS = ("video", "start", "label", "half")


def read(file: str) -> Numbered:
    return delimited_rows(file, header=COLUMNS)


def names(row: Mapping[str, Any]) -> Sequence[str]:
    return youtube_names(row["video"], number(row["start"]))


def describe(
    place: CorpusLocation, locator: str, row: Mapping[str, Any], audio: RawMedium
) -> Sequence[SourceRow] | Bad:
    label = text(row["label"])
    attributes = known(
        concept=label, family=label, video=row["video"], start=number(row["start"]), half=text(row["half"])
    )
    return heard(place, locator, audio, label, attributes, LICENCE)


LISTING = listed.Listing(
    files=lambda place: listed.lists(place, "vggsound*.csv", "vggsound*.csv.gz"),
    read=read,
    names=names,
    describe=describe,
    modalities=("audio", "video"),
)


CONNECTOR = Connector(
    name="vggsound",
    version="2",
    description="VGGSound: clips in which what is heard is seen",
    homepage="https://www.robots.ox.ac.uk/~vgg/data/vggsound",
    licence=LICENCE,
    terms="The list is CC-BY-4.0; sounds and pictures are those of the videos' owners.",
    size="200 thousand clips",
    tasks=("text_to_audio", "audio_captioning", "audio_editing", "text_to_video", "video_captioning", "image_to_audio",
           "audio_to_image", "joint_image_audio"),
    pieces=partial(listed.pieces, how=LISTING),
    results=partial(listed.rows, how=LISTING),
)  # fmt: skip
