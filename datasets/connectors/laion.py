"""LAION-400M, LAION-2B and Re-LAION: URLs and alt texts of images on the web, in Parquet.

Column names vary between versions; URL (url) and TEXT (caption, text) are required. One image row per fetched image.
Attributes: kind 'photo' or 'cut-out', url; if known similarity, punsafe, pwatermark, aesthetic, nsfw, language.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from codi2_datasets.corpora.base import RejectedRow
from codi2_datasets.readers import pairs, tables
from codi2_datasets.readers.base import Connector, CorpusLocation, InputSplit, Link, Rows
from codi2_datasets.readers.values import WEB, known, licence_of, number, pick, text, web_address

URL, TEXT = ("URL", "url"), ("TEXT", "caption", "text", "top_caption")


def describe(row: Mapping[str, Any]) -> pairs.MediaRecord:
    url = web_address(pick(row, *URL))
    return pairs.MediaRecord(
        url=url,
        caption=text(pick(row, *TEXT)),
        licence=licence_of(pick(row, "LICENSE", "license")),
        md5=text(pick(row, "md5", "MD5")),
        attributes=known(
            url=url,
            similarity=number(pick(row, "similarity", "SIMILARITY")),
            punsafe=number(pick(row, "punsafe")),
            pwatermark=number(pick(row, "pwatermark")),
            aesthetic=number(pick(row, "AESTHETIC_SCORE", "aesthetic", "aesthetic_score")),
            nsfw=text(pick(row, "NSFW")).lower(),
            language=text(pick(row, "LANGUAGE")),
        ),
    )


def links(place: CorpusLocation) -> Iterator[Link | RejectedRow]:
    files = ((p.file, tables.parquet_rows(p.file, p.part or 0)) for p in tables.parquet_pieces(place, URL, TEXT))
    return pairs.links(place, files, describe)


def rows(piece: InputSplit) -> Rows:
    return pairs.tar_rows(piece, describe, ("image",), WEB)


CONNECTOR = Connector(
    name="laion",
    version="2",
    description="LAION: pictures of the web with their alternative texts",
    homepage="https://laion.ai",
    licence=WEB,
    terms="The lists are CC-BY-4.0; the pictures are their owners', each under terms of its own.",
    size="400 million (LAION-400M), 2.3 thousand million (LAION-2B-en) addresses",
    tasks=("text_to_image", "image_captioning"),
    pieces=pairs.tar_pieces,
    results=rows,
    links=links,
)
