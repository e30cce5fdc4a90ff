"""Captioned media in tars: as img2dataset or our own fetcher wrote them from a list of addresses, or as anyone packed them.

A sample is `{key}.jpg` (or any other medium) with `{key}.json` or `{key}.txt` beside it. The JSON of img2dataset holds the
list's own columns; that of our fetcher holds what `links` gave it, under caption, attributes, licence and author. What
either could not fetch stands in the Parquet file beside the tar, and becomes a reject with the fetcher's own reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codi2_datasets.clients import SourceUnavailable
from codi2_datasets.connectors.base import Link, Piece, Place, Rows
from codi2_datasets.connectors.reading.files import DAMAGE, damage, exists, find, identity, opened, short
from codi2_datasets.connectors.reading.media import ENDINGS, Medium, is_cut_out, medium
from codi2_datasets.connectors.reading.tables import Numbered, parquet_rows
from codi2_datasets.connectors.reading.tars import ENDINGS as TAR_ENDINGS
from codi2_datasets.connectors.reading.tars import PATTERNS, Sample, samples
from codi2_datasets.connectors.reading.values import Bad, known, licence_of, listed_url, pick, text, web_address
from codi2_datasets.corpora.base import RejectedRow, SourceRow

FETCHED = ("ok", "success")  # statuses of our fetcher and of img2dataset
EVERY_ENDING = tuple(ending for endings in ENDINGS.values() for ending in endings)


@dataclass(frozen=True)
class Told:
    """What a list says of one medium."""

    url: str = ""
    caption: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    author: str = ""
    sha256: str = ""
    md5: str = ""


Describe = Callable[[Mapping[str, Any]], Told]


def links(place: Place, rows: Iterator[tuple[str, Numbered]], describe: Describe) -> Iterator[Link | RejectedRow]:
    """The addresses of lists, given as (file, rows); a row without one, or without a caption, is rejected."""
    for file, numbered in rows:
        for number, row in numbered:
            locator = f"{short(file)}#{number}"
            told = Bad("no address") if isinstance(row, Bad) else describe(row)
            reason = row.reason if isinstance(row, Bad) else unusable(told, addressed=True)
            if reason or isinstance(told, Bad):
                yield RejectedRow(place.corpus, locator, reason)
                continue
            yield Link(
                locator, told.url, told.caption, told.attributes, told.licence, told.author, told.sha256, told.md5
            )


def unusable(told: Told | Bad, addressed: bool = False) -> str:
    """Why a row cannot be used; '' if it can."""
    if isinstance(told, Bad):
        return told.reason
    if addressed and not told.url:
        return "no address"
    return "" if told.caption else "no caption"


def tar_pieces(
    place: Place, advice: str = "fetch them first: codi2 fetch, then name its output under media"
) -> Iterator[Piece]:
    """One piece for each tar under `media` (or, where that is left out, under `path`)."""
    if not (where := place.media or place.path):
        raise SourceUnavailable(place.corpus, "neither media nor path is given", advice)
    try:
        files = find(where, (*PATTERNS, "*.parquet"))
    except SourceUnavailable as error:
        raise SourceUnavailable(where, error.reason, advice) from error
    tars = [file for file in files if file.endswith(TAR_ENDINGS)]
    if not tars:
        raise SourceUnavailable(where, "no tars of media there", advice)
    beside = set(files) - set(tars)
    for file in tars:
        told = status_file(file)  # which of its rows were not fetched
        yield Piece(place, file, ".".join(identity(name) for name in (file, told) if name == file or name in beside))


def tar_rows(piece: Piece, describe: Describe, modalities: Sequence[str], licence: str, captioned: bool = True) -> Rows:
    """Rows of one tar, and rejects for what could not be fetched into it; unless `captioned` is False, for what has no
    caption as well."""
    corpus, tar = piece.place.corpus, short(piece.file)
    for found in samples(piece.file):
        if isinstance(found, Sample):
            yield from sample_rows(piece, found, describe, modalities, licence, captioned)
        else:
            yield RejectedRow(corpus, f"{tar}#{found[0]}", found[1].reason)
    for key, status in not_fetched(piece.file):
        yield RejectedRow(corpus, f"{tar}#{key} (not fetched)", f"not fetched: {status}")


def sample_rows(
    piece: Piece, sample: Sample, describe: Describe, modalities: Sequence[str], licence: str, captioned: bool
) -> Rows:
    """A row for each medium of one sample; the medium's ending is part of the locator where there are several."""
    place, locator = piece.place, f"{short(piece.file)}#{sample.key}"
    media = [ending for ending in sorted(sample.members) if ending.rpartition(".")[2] in EVERY_ENDING]
    record = sample.json()
    if isinstance(record, Bad):
        yield RejectedRow(place.corpus, locator, record.reason)
        return
    told = described(record, sample, describe)
    status = text(record.get("status"))
    reason = unusable(told) if captioned else ""
    if not media:
        reason = f"not fetched: {text(record.get('error')) or status}" if status not in ("", *FETCHED) else "no medium"
    if reason:
        yield RejectedRow(place.corpus, locator, reason)
        return
    for ending in media:
        own = locator if len(media) == 1 else f"{locator}.{ending}"
        found = medium(sample.members[ending], own, modalities)
        if isinstance(found, Bad):
            yield RejectedRow(place.corpus, own, found.reason)
            continue
        pair = {"pair": f"{piece.identity[:12]}/{sample.key}"} if len(media) > 1 else {}
        kind = known(kind=kind_of(found))
        yield SourceRow(
            corpus=place.corpus, locator=own, modality=found.modality, payload=found.data, media_type=found.media_type,
            licence=told.licence or licence, author=told.author or "unknown", caption=told.caption,
            attributes={**kind, **pair, **told.attributes},
        )  # fmt: skip


def kind_of(found: Medium) -> str:
    """'cut-out' for a thing drawn on nothing, else 'photo', 'sound' or 'clip'."""
    if found.modality == "image":
        return "cut-out" if is_cut_out(found) else "photo"
    return {"audio": "sound", "video": "clip"}[found.modality]


def described(record: dict[str, Any], sample: Sample, describe: Describe) -> Told:
    """What the sample says: our fetcher's fields where they are there, the list's own columns else, its text beside."""
    attributes = record.get("attributes")
    if isinstance(attributes, str):
        try:
            attributes = json.loads(attributes)
        except (ValueError, RecursionError):
            attributes = None
    if isinstance(attributes, dict):
        caption, licence, author = (text(record.get(name)) for name in ("caption", "licence", "author"))
        found = Told(listed_url(record.get("url")), caption, attributes, licence, author)
    else:
        found = describe(record)
    if found.caption or "txt" not in sample.members:
        return found
    caption = text(sample.members["txt"].decode("utf-8", "replace"))
    return Told(found.url, "" if "\ufffd" in caption else caption, found.attributes, found.licence, found.author)


def plain(record: Mapping[str, Any]) -> Told:
    """Of JSON that no list is known for: the usual names for address, caption, licence and author."""
    return Told(
        url=web_address(pick(record, "url", "URL")),
        caption=text(pick(record, "caption", "text", "TEXT", "prompt", "description")),
        licence=licence_of(pick(record, "licence", "license", "LICENSE"), ""),
        author=text(pick(record, "author", "creator", "artist")),
        attributes=known(url=web_address(pick(record, "url", "URL")), width=pick(record, "original_width"),
                         height=pick(record, "original_height")),
    )  # fmt: skip


def not_fetched(tar: str) -> Iterator[tuple[str, str]]:
    """(key, status) of what the Parquet file beside a tar says was not fetched."""
    beside = status_file(tar)
    if not exists(beside):
        return
    for group in range(groups_of(beside)):
        for _, row in parquet_rows(beside, group, ["key", "row_id", "status", "error_message", "error"]):
            if isinstance(row, dict) and (status := text(row.get("status"))) not in FETCHED:
                name = text(str(pick(row, "key", "row_id")))
                yield name, text(pick(row, "error_message", "error")) or status or "no status"


def status_file(tar: str) -> str:
    """00000.tar -> 00000.parquet, as both img2dataset and our fetcher name it."""
    return f"{next((tar.removesuffix(ending) for ending in TAR_ENDINGS if tar.endswith(ending)), tar)}.parquet"


def groups_of(parquet: str) -> int:
    import pyarrow.parquet as pq

    try:
        with opened(parquet, seekable=True) as file:
            return int(pq.ParquetFile(file).num_row_groups)
    except DAMAGE as error:
        damage(error)
        return 0
