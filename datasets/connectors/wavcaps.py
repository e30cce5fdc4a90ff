"""WavCaps: audio from Freesound, BBC, SoundBible and AudioSet, captioned by a language model. One JSON file per source.

The files are called fsd_final.json, bbc_final.json, sb_final.json and as_final.json; audio files are named by their id.
One audio row per file. Attributes: kind 'sound', source, url, tags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.readers import listed
from codi2_datasets.readers.base import Connector, ConnectorError, CorpusLocation
from codi2_datasets.readers.files import stem
from codi2_datasets.readers.json_items import json_items
from codi2_datasets.readers.media import RawMedium
from codi2_datasets.readers.results import only_objects
from codi2_datasets.readers.sounds import heard
from codi2_datasets.readers.values import Bad, Numbered, known, licence_of, pick, string, text, web_address

LICENCE = "LicenseRef-WavCaps"
SOURCES = {"fsd": "FreeSound", "bbc": "BBC_Sound_Effects", "sb": "SoundBible", "as": "AudioSet_SL"}


def read(file: str) -> Numbered:
    source = SOURCES.get(stem(file).partition("_")[0], stem(file))
    for n, entry in only_objects(enumerate(entry for _, entry in json_items(file, "data"))):
        yield n, {**entry, "source": source} if isinstance(entry, dict) else entry


def names(row: Mapping[str, Any]) -> Sequence[str]:
    name = string(pick(row, "id"))
    return [f"{row['source']}_flac/{name}", f"{row['source']}/{name}", name] if name else []


def check(file: str) -> None:
    if next(json_items(file, "data"), None) is None:
        raise ConnectorError(f"{file}: no list 'data' with entries in it")


def describe(
    place: CorpusLocation, locator: str, row: Mapping[str, Any], audio: RawMedium
) -> Sequence[SourceRow] | Bad:
    caption = row.get("caption")
    first = caption[0] if isinstance(caption, list) and caption else caption
    tags = row.get("tags")
    attributes = known(
        source=row["source"],
        url=web_address(pick(row, "download_link", "href")),
        tags=[text(tag) for tag in tags if text(tag)] if isinstance(tags, list) else None,
    )
    licence = licence_of(row.get("license"), LICENCE)
    return heard(place, locator, audio, text(first), attributes, licence, text(row.get("author")))


LISTING = listed.Listing(
    files=lambda place: listed.lists(place, "*_final.json"), read=read, names=names, describe=describe, check=check
)


CONNECTOR = Connector(
    name="wavcaps",
    version="2",
    description="WavCaps: sounds of four collections with captions written by a language model",
    homepage="https://github.com/XinhaoMei/WavCaps",
    licence=LICENCE,
    terms="For academic use alone; each sound under the terms of the collection that it is from.",
    size="403 thousand sounds",
    tasks=("text_to_audio", "audio_captioning"),
    pieces=partial(listed.pieces, how=LISTING),
    results=partial(listed.rows, how=LISTING),
)
