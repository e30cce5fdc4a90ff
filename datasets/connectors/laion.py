"""LAION-400M, LAION-2B and Re-LAION: URLs and alt texts of images on the web, in Parquet.

Column names vary between versions; URL (url) and TEXT (caption, text) are required. One image row per fetched image.
Attributes: kind 'photo' or 'cut-out', url; if known similarity, punsafe, pwatermark, aesthetic, nsfw, language.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from codi2_datasets.readers import pairs
from codi2_datasets.readers.base import Connector
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
    results=partial(pairs.tar_rows, describe=describe, modalities=("image",), licence=WEB),
    links=partial(pairs.parquet_links, describe=describe, needed=(URL, TEXT)),
)
