"""OBELICS: web pages as interleaved images and texts.

Parquet (images, texts, metadata, general_metadata), parallel lists.

Images are URLs: the fetcher's tars are given as `media`. One text row per section of a page with up to three images,
one image row per fetched image, with its alt text, if any, as caption. Attributes: kind 'document' or 'photo', family
(the page), ref (the URL), media.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_datasets.readers import pairs, tables
from codi2_datasets.readers.base import Connector, CorpusLocation, InputSplit, Link, Rows
from codi2_datasets.readers.documents import document_rows
from codi2_datasets.readers.files import short
from codi2_datasets.readers.results import results
from codi2_datasets.readers.values import WEB, Bad, known, lines, text, web_address

AUTHOR = "web pages, collected by Hugging Face"
COLUMNS = ("images", "texts", "metadata", "general_metadata")


def page_of(row: Mapping[str, Any]) -> str:
    try:
        return web_address(json.loads(row.get("general_metadata") or "{}").get("url"))
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ""


def parts_of(row: Mapping[str, Any]) -> list[tuple[str, str]] | Bad:
    images, texts = row.get("images"), row.get("texts")
    if not isinstance(images, list) or not isinstance(texts, list) or len(images) != len(texts):
        return Bad("images and texts are not as long as each other")
    if any(image and body for image, body in zip(images, texts, strict=True)):
        return Bad("an image and a text in one place")
    parts = [
        ("image", web_address(image)) if image else ("text", lines(body))
        for image, body in zip(images, texts, strict=True)
    ]
    return [(kind, value) for kind, value in parts if value]


def images_of(place: CorpusLocation, row: Mapping[str, Any]) -> Iterator[pairs.MediaRecord]:
    """Every image of a page, with its alt text."""
    try:
        metadata = json.loads(row.get("metadata") or "[]")
    except (ValueError, TypeError, RecursionError):
        metadata = []
    page = page_of(row)
    for n, image in enumerate(row.get("images") or []):
        if url := web_address(image):
            about = metadata[n] if isinstance(metadata, list) and n < len(metadata) else None
            caption = text(about.get("alt_text")) if isinstance(about, dict) else ""
            yield pairs.MediaRecord(url, caption, known(url=url, ref=url, page=page, family=page))


def links(place: CorpusLocation) -> Iterator[Link | RejectedRow]:
    for piece in document_pieces(place):
        for n, row in tables.parquet_rows(piece.file, piece.part or 0, COLUMNS):
            locator = f"{short(piece.file)}#{n}"
            if not isinstance(row, dict):
                yield RejectedRow(place.corpus, locator, row.reason if isinstance(row, Bad) else "")
                continue
            for k, image in enumerate(images_of(place, row)):
                yield Link(f"{locator}/{k}", image.url, image.caption, image.attributes)


def document_pieces(place: CorpusLocation) -> Iterator[InputSplit]:
    return tables.parquet_pieces(place, ("images",), ("texts",))


def pieces(place: CorpusLocation) -> Iterator[InputSplit]:
    yield from pairs.tar_pieces(place)
    yield from document_pieces(place)


def describe(record: Mapping[str, Any]) -> pairs.MediaRecord:
    url = web_address(record.get("url"))
    return pairs.MediaRecord(url, text(record.get("caption") or record.get("alt_text")), known(url=url, ref=url))


def rows(piece: InputSplit) -> Rows:
    if piece.part is None:
        return pairs.tar_rows(piece, describe, ("image",), WEB, captioned=False)
    return results(piece, tables.parquet_rows(piece.file, piece.part, COLUMNS), document)


def document(place: CorpusLocation, locator: str, row: Mapping[str, Any]) -> list[SourceRow] | Bad:
    return document_rows(place, locator, parts_of(row), page_of(row), AUTHOR)


CONNECTOR = Connector(
    name="obelics",
    version="2",
    description="OBELICS: web pages with their pictures in place",
    homepage="https://huggingface.co/datasets/HuggingFaceM4/OBELICS",
    licence=WEB,
    terms="The collection is CC-BY-4.0; texts and pictures are those of the pages' owners. Use the version without opted-out pages.",
    size="141 million pages, 353 million addresses",
    tasks=("text_to_media", "text_to_image", "image_captioning"),
    pieces=pieces,
    results=rows,
    links=links,
)
