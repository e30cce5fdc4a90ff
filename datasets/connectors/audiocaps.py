"""AudioCaps: captions for audio from AudioSet. CSV (audiocap_id, youtube_id, start_time, caption).

One audio row per clip, with the first of its captions; those of validation and test have the others in the attribute
`more`. Attributes: kind 'sound', video, start, more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.readers import listed
from codi2_datasets.readers.base import Connector, CorpusLocation
from codi2_datasets.readers.delimited import delimited_rows, header_of
from codi2_datasets.readers.media import RawMedium
from codi2_datasets.readers.sounds import heard, youtube_names
from codi2_datasets.readers.values import Bad, Elsewhere, Numbered, known, need, number, string, text

LICENCE = "LicenseRef-AudioSet"


def read(file: str) -> Numbered:
    """Audio clips with all their captions, at the position of the first; the whole list is 50,000 rows."""
    rows: list[dict[str, Any] | Bad | Elsewhere] = []
    sounds: dict[Any, dict[str, Any]] = {}
    for _, row in delimited_rows(file):
        if not isinstance(row, dict):
            rows.append(row)
        elif not (caption := text(row.get("caption"))):
            rows.append(Bad("no caption"))
        elif (own := sounds.get(key := (row.get("youtube_id"), row.get("start_time")))) is not None:
            own["captions"] += [caption] if caption not in own["captions"] else []
            rows.append(Elsewhere())
        else:
            sounds[key] = {**row, "captions": [caption]}
            rows.append(sounds[key])
    yield from enumerate(rows)


def names(row: Mapping[str, Any]) -> Sequence[str]:
    return [*youtube_names(row["youtube_id"], number(row.get("start_time"))), string(row.get("audiocap_id"))]


def describe(
    place: CorpusLocation, locator: str, row: Mapping[str, Any], audio: RawMedium
) -> Sequence[SourceRow] | Bad:
    first, *more = row["captions"]
    attributes = known(video=row["youtube_id"], start=number(row.get("start_time")), more=more)
    return heard(place, locator, audio, first, attributes, LICENCE)


LISTING = listed.Listing(
    files=lambda place: listed.lists(place, "train.csv", "val.csv", "test.csv", "audiocaps*.csv"),
    read=read,
    names=names,
    describe=describe,
    check=lambda file: need(file, header_of(file), ("youtube_id",), ("caption",)),
)


CONNECTOR = Connector(
    name="audiocaps",
    version="2",
    description="AudioCaps: sounds of AudioSet in whole sentences",
    homepage="https://audiocaps.github.io",
    licence=LICENCE,
    terms="Captions are MIT (academic use by their makers' word); the sounds are those of the videos' owners.",
    size="51 thousand sounds",
    tasks=("text_to_audio", "audio_captioning"),
    pieces=partial(listed.pieces, how=LISTING),
    results=partial(listed.rows, how=LISTING),
)
