"""Clotho: sounds of Freesound with five captions each. CSV of captions, CSV of licences and makers (in cp1252).

One audio row a file, with its first caption; the others stand in the attribute `more`.
Attributes: kind 'sound', more, keywords, url.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from codi2_datasets.connectors.base import Connector, Place
from codi2_datasets.connectors.reading import listed, tables
from codi2_datasets.connectors.reading.files import exists, kept, opened, stem
from codi2_datasets.connectors.reading.media import Medium
from codi2_datasets.connectors.reading.sounds import heard
from codi2_datasets.connectors.reading.values import Bad, known, licence_of, need, text, web_address
from codi2_datasets.corpora.base import SourceRow

LICENCE = "LicenseRef-Clotho"
CAPTIONS = "clotho_captions_*.csv"


def makers_file(captions: str) -> str:
    return captions.replace("clotho_captions_", "clotho_metadata_")


@kept(4)
def makers(file: str) -> dict[str, Mapping[str, str]]:
    """By name of sound, what the table of licences says; nothing where there is none beside the captions."""
    try:
        with opened(makers_file(file)) as stream:
            words = stream.read().decode("cp1252", "replace")
    except FileNotFoundError:
        return {}
    try:
        return {row["file_name"]: row for row in csv.DictReader(io.StringIO(words)) if row.get("file_name")}
    except csv.Error:
        return {}


def read(file: str) -> tables.Numbered:
    told = makers(file)
    for number, row in tables.delimited_rows(file):
        yield number, row if isinstance(row, Bad) else {**row, "maker": told.get(row["file_name"], {})}


def names(row: Mapping[str, Any]) -> Sequence[str]:
    return [stem(row["file_name"])]


def describe(place: Place, locator: str, row: Mapping[str, Any], found: Medium) -> Sequence[SourceRow] | Bad:
    captions = [caption for n in range(1, 6) if (caption := text(row.get(f"caption_{n}")))]
    maker = row["maker"]
    first, *more = captions or [""]
    keywords = [word.strip() for word in (maker.get("keywords") or "").split(";") if word.strip()]
    attributes = known(more=more, keywords=keywords, url=web_address(maker.get("sound_link")))
    return heard(
        place,
        locator,
        found,
        first,
        attributes,
        licence_of(maker.get("license"), LICENCE),
        text(maker.get("manufacturer")),
    )


LISTING = listed.Listing(
    files=lambda place: listed.lists(place, CAPTIONS),
    read=read,
    names=names,
    describe=describe,
    beside=lambda place: [file for file in map(makers_file, listed.lists(place, CAPTIONS)) if exists(file)],
    check=lambda file: need(file, tables.header_of(file), ("file_name",), ("caption_1",)),
)


CONNECTOR = Connector(
    name="clotho",
    version="1",
    description="Clotho: sounds of Freesound, five captions each",
    homepage="https://zenodo.org/record/4783391",
    licence=LICENCE,
    terms="Each sound under the Creative Commons licence that the table names; captions for non-commercial use, with attribution.",
    size="6,974 sounds",
    tasks=("text_to_audio", "audio_captioning"),
    pieces=partial(listed.pieces, how=LISTING),
    rows=partial(listed.rows, how=LISTING),
)
