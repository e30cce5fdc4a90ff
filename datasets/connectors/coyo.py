"""COYO-700M: URLs and alt texts of images on the web, with scores, in Parquet.

Columns url and text are required. One image row per fetched image. Attributes: kind 'photo' or 'cut-out', url; if known
similarity, nsfw, watermark, aesthetic, faces.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from codi2_datasets.readers import pairs
from codi2_datasets.readers.base import Connector
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
    results=partial(pairs.tar_rows, describe=describe, modalities=("image",), licence=WEB),
    links=partial(pairs.parquet_links, describe=describe, needed=(("url",), ("text", "caption"))),
)
