"""Clotho: audio from Freesound with five captions each. CSV of captions, CSV of licences and authors (in cp1252).

One audio row per file, with its first caption; the others are in the attribute `more`.
Attributes: kind 'sound', more, keywords, url.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from codi2_datasets.corpora.base import SourceRow
from codi2_datasets.readers import listed
from codi2_datasets.readers.base import Connector, CorpusLocation
from codi2_datasets.readers.delimited import delimited_rows, header_of
from codi2_datasets.readers.files import exists, kept
from codi2_datasets.readers.media import RawMedium
from codi2_datasets.readers.sounds import heard
from codi2_datasets.readers.values import Bad, Numbered, known, licence_of, need, text, web_address

LICENCE = "LicenseRef-Clotho"
CAPTIONS = "clotho_captions_*.csv"


def makers_file(captions: str) -> str:
    folder, slash, name = captions.rpartition("/")
    return f"{folder}{slash}{name.replace('clotho_captions_', 'clotho_metadata_', 1)}"


@kept(4)
def makers(file: str) -> dict[str, Mapping[str, str]]:
    """The rows of the licence table by file name; empty if there is no such table beside the captions."""
    if not exists(makers_file(file)):
        return {}
    rows = (row for _, row in delimited_rows(makers_file(file), otherwise="cp1252", extra=True))
    return {row["file_name"]: row for row in rows if isinstance(row, dict) and row.get("file_name")}


def read(file: str) -> Numbered:
    by_name, split = makers(file), file.rpartition("clotho_captions_")[2].partition(".")[0]
    for number, row in delimited_rows(file):
        if isinstance(row, dict):
            row = {**row, "maker": by_name.get(row["file_name"], {}), "split": split}
        yield number, row


def names(row: Mapping[str, Any]) -> Sequence[str]:
    """The name in the folder of its split comes first."""
    return [f"{row['split']}/{row['file_name']}", row["file_name"]]


def describe(
    place: CorpusLocation, locator: str, row: Mapping[str, Any], audio: RawMedium
) -> Sequence[SourceRow] | Bad:
    captions = [caption for n in range(1, 6) if (caption := text(row.get(f"caption_{n}")))]
    maker = row["maker"]
    first, *more = captions or [""]
    keywords = [word.strip() for word in (maker.get("keywords") or "").split(";") if word.strip()]
    attributes = known(more=more, keywords=keywords, url=web_address(maker.get("sound_link")))
    return heard(
        place,
        locator,
        audio,
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
    check=lambda file: need(file, header_of(file), ("file_name",), ("caption_1",)),
)


CONNECTOR = Connector(
    name="clotho",
    version="2",
    description="Clotho: sounds of Freesound, five captions each",
    homepage="https://zenodo.org/record/4783391",
    licence=LICENCE,
    terms="Each sound under the Creative Commons licence that the table names; captions for non-commercial use, with attribution.",
    size="6,974 sounds",
    tasks=("text_to_audio", "audio_captioning"),
    pieces=partial(listed.pieces, how=LISTING),
    results=partial(listed.rows, how=LISTING),
)
