"""Conceptual Captions: CC3M (caption, then URL) and CC12M (URL, then caption), TSV without a header.

One image row per fetched image. Attributes: kind 'photo' or 'cut-out', url. Names of people in the captions of CC12M
were replaced by <PERSON>; they are read as 'someone'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from codi2_datasets.corpora.base import RejectedRow
from codi2_datasets.readers import pairs
from codi2_datasets.readers.base import Connector, CorpusLocation, Link
from codi2_datasets.readers.delimited import delimited_rows
from codi2_datasets.readers.files import find
from codi2_datasets.readers.values import WEB, known, pick, text, web_address


def describe(row: Mapping[str, Any]) -> pairs.MediaRecord:
    url = web_address(pick(row, "url"))
    caption = text(pick(row, "caption")).replace("<PERSON>", "someone")
    return pairs.MediaRecord(url=url, caption=caption, attributes=known(url=url))


def links(place: CorpusLocation, header: tuple[str, str]) -> Iterator[Link | RejectedRow]:
    """The URLs of the lists, including the hub's version, whose header line is skipped."""
    for file in find(place.path, ("*.tsv", "*.tsv.gz", "*.tsv.zst")):
        rows = delimited_rows(file, "\t", header, quoted=False)
        named = (
            numbered
            for numbered in rows
            if not (numbered[0] == 0 and numbered[1] == dict(zip(header, header, strict=True)))
        )
        yield from pairs.links(place, iter([(file, named)]), describe)


CC3M = Connector(
    name="cc3m",
    version="2",
    description="Conceptual Captions: pictures of the web with tidied alternative texts",
    homepage="https://ai.google.com/research/ConceptualCaptions",
    licence=WEB,
    terms="The lists may be used freely for any purpose, with acknowledgment of Google; the pictures are their owners'.",
    size="3.3 million addresses",
    tasks=("text_to_image", "image_captioning"),
    pieces=pairs.tar_pieces,
    results=partial(pairs.tar_rows, describe=describe, modalities=("image",), licence=WEB),
    links=partial(links, header=("caption", "url")),
)
CC12M = replace(
    CC3M,
    name="cc12m",
    description="Conceptual 12M: more pictures of the web, with looser alternative texts",
    homepage="https://github.com/google-research-datasets/conceptual-12m",
    size="12.4 million addresses",
    links=partial(links, header=("url", "caption")),
)
CONNECTORS = (CC3M, CC12M)
