"""Captioned media in tars: as img2dataset or our own fetcher wrote them from a list of addresses, or as anyone packed them.

A sample is `{key}.jpg` (or any other medium) with `{key}.json` or `{key}.txt` beside it. The JSON of img2dataset holds the
list's own columns; that of our fetcher holds what `links` gave it, under caption, attributes, licence and author. What
either could not fetch stands in the Parquet file beside the tar, and becomes a reject with the fetcher's own reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from codi2_datasets.connectors.base import Held, Link, Piece, Place, RowResult, Rows
from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_datasets.readers.files import exists, find, identity, short
from codi2_datasets.readers.json_rows import json_object
from codi2_datasets.readers.media import Medium, is_cut_out, medium
from codi2_datasets.readers.results import result
from codi2_datasets.readers.shelf import EVERY_ENDING
from codi2_datasets.readers.tables import file_rows, row_groups
from codi2_datasets.readers.tars import ENDINGS as TAR_ENDINGS
from codi2_datasets.readers.tars import PATTERNS, Sample, is_tar, opened_tar
from codi2_datasets.readers.values import (
    Bad,
    Numbered,
    known,
    licence_of,
    listed_url,
    pick,
    string,
    text,
    web_address,
    whole,
)
from codi2_datasets.sources.registries import SourceUnavailable

FETCHED = ("ok", "success")  # statuses of our fetcher and of img2dataset


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
            told = describe(row) if isinstance(row, dict) else Bad("no address")
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
    tars = [file for file in files if is_tar(file)]
    if not tars:
        raise SourceUnavailable(where, "no tars of media there", advice)
    beside = set(files) - set(tars)
    for file in tars:
        told = status_file(file)  # which of its rows were not fetched
        yield Piece(place, file, ".".join(identity(name) for name in (file, told) if name == file or name in beside))


def tar_rows(piece: Piece, describe: Describe, modalities: Sequence[str], licence: str, captioned: bool = True) -> Rows:
    """Rows of one tar, and rejects for what could not be fetched into it; unless `captioned` is False, for what has no
    caption as well."""
    tar, keys = short(piece.file), set()
    with opened_tar(piece.file) as archive:
        for found in archive.samples():
            if isinstance(found, Sample):
                keys.add(found.key.rpartition("/")[2])
                rows = [
                    row
                    for part in found.parts()
                    for row in sample_rows(piece, part, describe, modalities, licence, captioned)
                ]
                yield RowResult(tuple(rows), len(found.members))
            else:
                yield result(piece.place, f"{tar}#{found[0]}", found[1])
        held = archive.held
    for key, status in statuses(piece.file):
        held += 1
        if status in FETCHED and key in keys:
            yield RowResult((), elsewhere=True)
        elif status in FETCHED:
            yield result(piece.place, f"{tar}#{key} (fetched)", Bad("it was fetched, and is not in the tar"))
        else:
            yield result(piece.place, f"{tar}#{key} (not fetched)", Bad(f"not fetched: {status}"))
    yield Held(held)


def sample_rows(
    piece: Piece, sample: Sample, describe: Describe, modalities: Sequence[str], licence: str, captioned: bool
) -> Iterator[SourceRow | RejectedRow]:
    """A row for each medium of one sample; the medium's ending is part of the locator where there are several."""
    place, locator = piece.place, f"{short(piece.file)}#{sample.key}"
    media = [ending for ending in sorted(sample.members) if ending.rpartition(".")[2] in EVERY_ENDING]
    record = sample.json()
    told = record if isinstance(record, Bad) else described(record, sample, describe)
    if isinstance(told, Bad) or isinstance(record, Bad):
        yield RejectedRow(place.corpus, locator, told.reason if isinstance(told, Bad) else "")
        return
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


def described(record: dict[str, Any], sample: Sample, describe: Describe) -> Told | Bad:
    """What the sample says: our fetcher's fields where they are there, the list's own columns else, its text beside."""
    found, attributes = describe(record), record.get("attributes")
    if isinstance(attributes, str):
        own = json_object(attributes)
        attributes = None if isinstance(own, Bad) else own
    if isinstance(attributes, dict):
        caption, licence, author = (text(record.get(name)) for name in ("caption", "licence", "author"))
        found = Told(listed_url(record.get("url")), caption or found.caption, attributes, licence, author)
    if found.caption:
        return found
    beside = sample.text()
    return beside if isinstance(beside, Bad) else replace(found, caption=text(beside))


def plain(record: Mapping[str, Any]) -> Told:
    """Of JSON that no list is known for: the usual names for address, caption, licence and author."""
    return Told(
        url=web_address(pick(record, "url", "URL")),
        caption=text(pick(record, "caption", "text", "TEXT", "prompt", "description")),
        licence=licence_of(pick(record, "licence", "license", "LICENSE"), ""),
        author=text(pick(record, "author", "creator", "artist")),
        attributes=known(url=web_address(pick(record, "url", "URL")), width=whole(record.get("original_width")),
                         height=whole(record.get("original_height"))),
    )  # fmt: skip


def statuses(tar: str) -> Iterator[tuple[str, str]]:
    """(key, 'ok' or why not) of each row that the Parquet file beside a tar says was asked for."""
    beside = status_file(tar)
    if not exists(beside):
        return
    columns, _ = row_groups(beside) or ([], [])
    if "status" not in columns or not {"key", "row_id"} & set(columns):
        return  # it is not of a fetcher
    for number, row in file_rows(beside, ["key", "row_id", "status", "error_message", "error"]):
        if not isinstance(row, dict):
            yield f"{number}", row.reason if isinstance(row, Bad) else ""
            continue
        status = text(row.get("status"))
        told = status if status in FETCHED else text(pick(row, "error_message", "error")) or status or "no status"
        yield string(pick(row, "key", "row_id")) or f"{number}", told


def status_file(tar: str) -> str:
    """00000.tar -> 00000.parquet, as both img2dataset and our fetcher name it."""
    return f"{next((tar[: -len(ending)] for ending in TAR_ENDINGS if tar.lower().endswith(ending)), tar)}.parquet"
