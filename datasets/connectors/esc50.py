"""ESC-50: two thousand audio clips of fifty classes, five seconds each. meta/esc50.csv and audio/.

One audio row per file, with the class as caption. Attributes: concept and family (the class), kind 'sound', fold,
url.
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
from codi2_datasets.readers.sounds import heard
from codi2_datasets.readers.values import Bad, known, need, number, text

LICENCE = "CC-BY-NC-3.0"
FREE = "CC-BY-3.0"  # of the ten classes of ESC-10


def names(row: Mapping[str, Any]) -> Sequence[str]:
    return [row["filename"]]


def describe(
    place: CorpusLocation, locator: str, row: Mapping[str, Any], audio: RawMedium
) -> Sequence[SourceRow] | Bad:
    words = text(row["category"]).replace("_", " ")
    source = text(row.get("src_file"))
    attributes = known(concept=words, family=words, fold=number(row.get("fold")),
                       url=f"https://freesound.org/s/{source}/" if source.isdecimal() else "")  # fmt: skip
    licence = FREE if text(row.get("esc10")).lower() == "true" else LICENCE
    return heard(
        place, locator, audio, words, attributes, licence, f"Freesound {source}, by K. J. Piczak" if source else ""
    )


LISTING = listed.Listing(
    files=lambda place: listed.lists(place, "esc50.csv"),
    read=delimited_rows,
    names=names,
    describe=describe,
    check=lambda file: need(file, header_of(file), ("filename",), ("category",)),
)


CONNECTOR = Connector(
    name="esc50",
    version="2",
    description="ESC-50: sounds of fifty kinds",
    homepage="https://github.com/karolpiczak/ESC-50",
    licence=LICENCE,
    terms="CC-BY-NC-3.0; the 400 sounds of ESC-10 are CC-BY-3.0.",
    size="2,000 sounds",
    tasks=("text_to_audio", "audio_captioning", "audio_editing"),
    pieces=partial(listed.pieces, how=LISTING),
    results=partial(listed.rows, how=LISTING),
)
