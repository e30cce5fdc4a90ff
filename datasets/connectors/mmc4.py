"""MMC4: web pages as sentences, and images matched to them. JSON lines, one zip per shard.

{url, text_list, image_info: [{image_name, raw_url, matched_text_index, matched_sim}]}. Images are URLs: the fetcher's
tars are given as `media`. An image precedes the sentence that it is matched to, which is its caption. Attributes: kind
'document' or 'photo', family (the page), ref (the URL), media, similarity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_datasets.readers import pairs
from codi2_datasets.readers.base import Connector, CorpusLocation, InputSplit, Link, Rows
from codi2_datasets.readers.documents import document_rows
from codi2_datasets.readers.files import find, short
from codi2_datasets.readers.json_rows import json_rows
from codi2_datasets.readers.results import results
from codi2_datasets.readers.tables import sliced, slices
from codi2_datasets.readers.values import (
    WEB,
    Bad,
    known,
    need_fields,
    number,
    pick,
    text,
    web_address,
    whole,
)

AUTHOR = "web pages, collected by the Allen Institute for AI"
PATTERNS = ("*.jsonl", "*.jsonl.zip", "*.jsonl.gz", "*.jsonl.zst")


def images_of(row: Mapping[str, Any]) -> Iterator[tuple[int, str, float | None]]:
    """(sentence, URL, similarity) of each image with a valid position."""
    sentences = row.get("text_list")
    for info in row["image_info"] if isinstance(row.get("image_info"), list) else []:
        if isinstance(info, dict) and isinstance(sentences, list):
            place, url = whole(info.get("matched_text_index")), web_address(info.get("raw_url"))
            if url and place is not None and 0 <= place < len(sentences):
                yield place, url, number(info.get("matched_sim"))


def parts_of(row: Mapping[str, Any]) -> list[tuple[str, str]] | Bad:
    if not isinstance(row.get("text_list"), list) or not isinstance(row.get("image_info"), list):
        return Bad("no 'text_list' or no 'image_info'")
    images = list(images_of(row))
    parts: list[tuple[str, str]] = []
    for n, sentence in enumerate(row["text_list"]):
        parts += [("image", url) for at, url, _ in images if at == n]
        parts += [("text", text(sentence))] if text(sentence) else []
    return parts


def links(place: CorpusLocation) -> Iterator[Link | RejectedRow]:
    for file in find(place.path, PATTERNS):
        for n, row in json_rows(file):
            locator = f"{short(file)}#{n}"
            if not isinstance(row, dict):
                yield RejectedRow(place.corpus, locator, row.reason if isinstance(row, Bad) else "")
                continue
            page = web_address(row.get("url"))
            for k, (at, url, similarity) in enumerate(images_of(row)):
                attributes = known(url=url, ref=url, page=page, family=page, similarity=similarity)
                yield Link(f"{locator}/{k}", url, text(row["text_list"][at]), attributes)


def pieces(place: CorpusLocation) -> Iterator[InputSplit]:
    yield from pairs.tar_pieces(place)
    files = find(place.path, PATTERNS)
    for file in files:
        need_fields(file, json_rows(file), ("text_list",))
    yield from slices(place, files, json_rows, kind="documents")


def describe(record: Mapping[str, Any]) -> pairs.MediaRecord:
    url = web_address(pick(record, "url", "raw_url"))
    return pairs.MediaRecord(url, text(record.get("caption")), known(url=url, ref=url))


def rows(piece: InputSplit) -> Rows:
    if piece.kind == "documents":
        return results(piece, sliced(piece, json_rows(piece.file)), document)
    return pairs.tar_rows(piece, describe, ("image",), WEB, captioned=False)


def document(place: CorpusLocation, locator: str, row: Mapping[str, Any]) -> list[SourceRow] | Bad:
    return document_rows(place, locator, parts_of(row), web_address(row.get("url")), AUTHOR)


CONNECTOR = Connector(
    name="mmc4",
    version="2",
    description="MMC4: web pages with pictures matched to their sentences",
    homepage="https://github.com/allenai/mmc4",
    licence=WEB,
    terms="The collection is ODC-BY; texts and pictures are those of the pages' owners.",
    size="103 million pages, 585 million addresses",
    tasks=("text_to_media", "text_to_image", "image_captioning"),
    pieces=pieces,
    results=rows,
    links=links,
)
