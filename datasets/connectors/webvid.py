"""WebVid: URLs and descriptions of stock footage, in CSV (videoid, contentUrl, duration, page_dir, name).

Videos come from the fetcher's tars, or from a folder or tars of {page_dir}/{videoid}.mp4. One video row per file.
Attributes: kind 'clip', url, seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_datasets.readers import listed, pairs
from codi2_datasets.readers.base import Connector, CorpusLocation, InputSplit, Link, Rows
from codi2_datasets.readers.delimited import delimited_rows, header_of
from codi2_datasets.readers.media import RawMedium
from codi2_datasets.readers.tars import names
from codi2_datasets.readers.values import Bad, known, need, number, pick, text, web_address

LICENCE = "LicenseRef-WebVid"
CSV = ("*.csv", "*.csv.gz", "*.csv.zst")


def details_of(row: Mapping[str, Any]) -> pairs.MediaRecord:
    url = web_address(pick(row, "contentUrl", "url"))
    attributes = known(url=url, seconds=iso_seconds(pick(row, "duration")))
    return pairs.MediaRecord(
        url=url, caption=text(pick(row, "name", "caption")), attributes=attributes, licence=LICENCE
    )


def iso_seconds(duration: Any) -> float | None:
    """'PT00H00M26S' -> 26."""
    if not isinstance(duration, str) or not duration.startswith("PT"):
        return number(duration)
    total, digits = 0, ""
    for char in duration[2:]:
        if char.isdecimal():
            digits += char
        else:
            total, digits = total + int(digits or 0) * {"H": 3600, "M": 60, "S": 1}.get(char, 0), ""
    return float(total)


def file_names(row: Mapping[str, Any]) -> list[str]:
    return [f"{row.get('page_dir')}/{row['videoid']}", row["videoid"]]


def describe(place: CorpusLocation, locator: str, row: Mapping[str, Any], clip: RawMedium) -> list[SourceRow] | Bad:
    details = details_of(row)
    if not details.caption:
        return Bad("no caption")
    attributes = {"kind": "clip", **details.attributes}
    return [SourceRow(place.corpus, locator, "video", clip.data, clip.media_type, LICENCE, "unknown",
                      details.caption, attributes)]  # fmt: skip


def check(file: str) -> None:
    need(file, header_of(file), ("videoid",), ("contentUrl",), ("name",))


LISTING = listed.Listing(
    files=lambda place: listed.lists(place, *CSV),
    read=delimited_rows,
    names=file_names,
    describe=describe,
    modalities=("video",),
    check=check,
)


def links(place: CorpusLocation) -> Iterator[Link | RejectedRow]:
    files = LISTING.files(place)
    for file in files:
        check(file)
    return pairs.links(place, ((file, delimited_rows(file)) for file in files), details_of)


def pieces(place: CorpusLocation) -> Iterator[InputSplit]:
    tars = listed.tars_of(place)
    if tars and any(name.endswith(".json") for name in names(tars[0])):  # fetched tars: each video has its own caption
        return pairs.tar_pieces(place)
    return listed.pieces(place, LISTING)


def rows(piece: InputSplit) -> Rows:
    if piece.part is None and piece.kind == "":
        return pairs.tar_rows(piece, details_of, ("video",), LICENCE)
    return listed.rows(piece, LISTING)


CONNECTOR = Connector(
    name="webvid",
    version="2",
    description="WebVid: short stock clips with their descriptions",
    homepage="https://github.com/m-bain/webvid",
    licence=LICENCE,
    terms="For non-commercial research by its makers' terms; the list was withdrawn in 2024, and the clips are their owners'.",
    size="2.6 million (WebVid-2M), 10.7 million (WebVid-10M) addresses",
    tasks=("text_to_video", "video_captioning"),
    pieces=pieces,
    results=rows,
    links=links,
)
