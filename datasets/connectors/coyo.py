"""COYO-700M: URLs and alt texts of images on the web, with scores, in Parquet.

Columns url and text are required. One image row per fetched image. Attributes: kind 'photo' or 'cut-out', url; if known
similarity, nsfw, watermark, aesthetic, faces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from codi2_datasets.corpora.base import RejectedRow
from codi2_datasets.readers import pairs, tables
from codi2_datasets.readers.base import Connector, CorpusLocation, InputSplit, Link, Rows
from codi2_datasets.readers.values import WEB, known, number, pick, text, web_address


def describe(row: Mapping[str, Any]) -> pairs.MediaRecord:
    url = web_address(pick(row, "url"))
    return pairs.MediaRecord(
        url=url,
        caption=text(pick(row, "text", "caption")),
        attributes=known(
            url=url,
            similarity=number(pick(row, "clip_similarity_vitl14", "clip_similarity_vitb32")),
            nsfw=number(pick(row, "nsfw_score_opennsfw2")),
            watermark=number(pick(row, "watermark_score")),
            aesthetic=number(pick(row, "aesthetic_score_laion_v2")),
            faces=number(pick(row, "num_faces")),
        ),
    )


def links(place: CorpusLocation) -> Iterator[Link | RejectedRow]:
    pieces = tables.parquet_pieces(place, ("url",), ("text", "caption"))
    return pairs.links(place, ((p.file, tables.parquet_rows(p.file, p.part or 0)) for p in pieces), describe)


def rows(piece: InputSplit) -> Rows:
    return pairs.tar_rows(piece, describe, ("image",), WEB)


CONNECTOR = Connector(
    name="coyo",
    version="2",
    description="COYO-700M: pictures of the web with their alternative texts and scores",
    homepage="https://github.com/kakaobrain/coyo-dataset",
    licence=WEB,
    terms="The lists are CC-BY-4.0; the pictures are their owners', each under terms of its own.",
    size="747 million addresses",
    tasks=("text_to_image", "image_captioning"),
    pieces=pairs.tar_pieces,
    results=rows,
    links=links,
)
