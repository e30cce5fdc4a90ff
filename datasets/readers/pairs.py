"""Captioned media in tars: written by img2dataset or `codi2 fetch` from a list of URLs, or packed by others.

A sample is `{key}.jpg` (or another medium) with `{key}.json` or `{key}.txt`. The JSON of img2dataset has the list's own
columns; that of `codi2 fetch` has the fields of `links`: caption, attributes, licence and author. Rows that could not
be fetched are in the Parquet file beside the tar, and become rejects with the fetcher's reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from codi2_datasets.corpora.base import RejectedRow, SourceRow
from codi2_datasets.readers.base import CorpusLocation, InputSplit, Link, RowCount, RowResult, Rows
from codi2_datasets.readers.files import exists, find, identity, short
from codi2_datasets.readers.json_rows import json_object
from codi2_datasets.readers.media import RawMedium, is_cut_out, medium
from codi2_datasets.readers.results import result
from codi2_datasets.readers.shelf import EVERY_ENDING
from codi2_datasets.readers.tables import file_rows, parquet_pieces, parquet_rows, row_groups
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

FETCHED = ("ok", "success")  # statuses of `codi2 fetch` and of img2dataset


@dataclass(frozen=True)
class MediaRecord:
    """A list's information about one medium."""

    url: str = ""
    caption: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    author: str = ""
    sha256: str = ""
    md5: str = ""


Describe = Callable[[Mapping[str, Any]], MediaRecord]


def links(
    place: CorpusLocation, rows: Iterator[tuple[str, Numbered]], describe: Describe
) -> Iterator[Link | RejectedRow]:
    """The URLs of lists, given as (file, rows); a row without a URL or without a caption is rejected."""
    for file, numbered in rows:
        for number, row in numbered:
            locator = f"{short(file)}#{number}"
            record = describe(row) if isinstance(row, dict) else Bad("no address")
            reason = row.reason if isinstance(row, Bad) else unusable(record, addressed=True)
            if reason or isinstance(record, Bad):
                yield RejectedRow(place.corpus, locator, reason)
                continue
            yield Link(locator, **vars(record))


def parquet_links(
    place: CorpusLocation, describe: Describe, needed: Sequence[tuple[str, ...]]
) -> Iterator[Link | RejectedRow]:
    """The URLs of Parquet lists. `needed`: columns, each by its possible names."""
    pieces = parquet_pieces(place, *needed)
    return links(place, ((piece.file, parquet_rows(piece.file, piece.part or 0)) for piece in pieces), describe)


def unusable(record: MediaRecord | Bad, addressed: bool = False) -> str:
    """Why a row cannot be used; '' if it can."""
    if isinstance(record, Bad):
        return record.reason
    if addressed and not record.url:
        return "no address"
    return "" if record.caption else "no caption"


def tar_pieces(
    place: CorpusLocation, advice: str = "fetch them first: codi2 fetch, then name its output under media"
) -> Iterator[InputSplit]:
    """One piece per tar under `media` (or, if that is not given, under `path`). Raises SourceUnavailable."""
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
        status_path = status_file(file)  # lists the rows that were not fetched
        yield InputSplit(
            place, file, ".".join(identity(name) for name in (file, status_path) if name == file or name in beside)
        )


def tar_rows(
    piece: InputSplit, describe: Describe, modalities: Sequence[str], licence: str, captioned: bool = True
) -> Rows:
    """Rows of one tar, and rejects for rows that could not be fetched into it.

    With `captioned`, media without a caption are rejected too.
    """
    tar, keys = short(piece.file), set()
    with opened_tar(piece.file) as archive:
        for entry in archive.samples():
            if isinstance(entry, Sample):
                keys.add(entry.key.rpartition("/")[2])
                rows = [
                    row
                    for part in entry.parts()
                    for row in sample_rows(piece, part, describe, modalities, licence, captioned)
                ]
                yield RowResult(tuple(rows), len(entry.members))
            else:
                yield result(piece.place, f"{tar}#{entry[0]}", entry[1])
        held = archive.held
    for key, status in statuses(piece.file):
        held += 1
        if status in FETCHED and key in keys:
            yield RowResult((), elsewhere=True)
        elif status in FETCHED:
            yield result(piece.place, f"{tar}#{key} (fetched)", Bad("it was fetched, and is not in the tar"))
        else:
            yield result(piece.place, f"{tar}#{key} (not fetched)", Bad(f"not fetched: {status}"))
    yield RowCount(held)


def sample_rows(
    piece: InputSplit, sample: Sample, describe: Describe, modalities: Sequence[str], licence: str, captioned: bool
) -> Iterator[SourceRow | RejectedRow]:
    """A row for each medium of one sample; the extension is part of the locator if there are several."""
    place, locator = piece.place, f"{short(piece.file)}#{sample.key}"
    media = [ending for ending in sorted(sample.members) if ending.rpartition(".")[2] in EVERY_ENDING]
    record = sample.json()
    details = record if isinstance(record, Bad) else described(record, sample, describe)
    if isinstance(details, Bad) or isinstance(record, Bad):
        yield RejectedRow(place.corpus, locator, details.reason if isinstance(details, Bad) else "")
        return
    status = text(record.get("status"))
    reason = unusable(details) if captioned else ""
    if not media:
        reason = f"not fetched: {text(record.get('error')) or status}" if status not in ("", *FETCHED) else "no medium"
    if reason:
        yield RejectedRow(place.corpus, locator, reason)
        return
    for ending in media:
        own = locator if len(media) == 1 else f"{locator}.{ending}"
        decoded = medium(sample.members[ending], own, modalities)
        if isinstance(decoded, Bad):
            yield RejectedRow(place.corpus, own, decoded.reason)
            continue
        pair = {"pair": f"{piece.identity[:12]}/{sample.key}"} if len(media) > 1 else {}
        kind = known(kind=kind_of(decoded))
        yield SourceRow(
            corpus=place.corpus, locator=own, modality=decoded.modality, payload=decoded.data, media_type=decoded.media_type,
            licence=details.licence or licence, author=details.author or "unknown", caption=details.caption,
            attributes={**kind, **pair, **details.attributes},
        )  # fmt: skip


def kind_of(media: RawMedium) -> str:
    """'cut-out' for an object on transparency, else 'photo', 'sound' or 'clip'."""
    if media.modality == "image":
        return "cut-out" if is_cut_out(media) else "photo"
    return {"audio": "sound", "video": "clip"}[media.modality]


def described(record: dict[str, Any], sample: Sample, describe: Describe) -> MediaRecord | Bad:
    """A sample's information: the fields of `codi2 fetch` if present, else the list's own columns; then the text file."""
    details, attributes = describe(record), record.get("attributes")
    if isinstance(attributes, str):
        own = json_object(attributes)
        attributes = None if isinstance(own, Bad) else own
    if isinstance(attributes, dict):
        caption, licence, author = (text(record.get(name)) for name in ("caption", "licence", "author"))
        details = MediaRecord(listed_url(record.get("url")), caption or details.caption, attributes, licence, author)
    if details.caption:
        return details
    beside = sample.text()
    return beside if isinstance(beside, Bad) else replace(details, caption=text(beside))


def plain(record: Mapping[str, Any]) -> MediaRecord:
    """The usual names for URL, caption, licence and author, for JSON of unknown origin."""
    return MediaRecord(
        url=web_address(pick(record, "url", "URL")),
        caption=text(pick(record, "caption", "text", "TEXT", "prompt", "description")),
        licence=licence_of(pick(record, "licence", "license", "LICENSE"), ""),
        author=text(pick(record, "author", "creator", "artist")),
        attributes=known(url=web_address(pick(record, "url", "URL")), width=whole(record.get("original_width")),
                         height=whole(record.get("original_height"))),
    )  # fmt: skip


def statuses(tar: str) -> Iterator[tuple[str, str]]:
    """(key, 'ok' or the reason) of each row in the Parquet file beside a tar."""
    beside = status_file(tar)
    if not exists(beside):
        return
    columns, _ = row_groups(beside) or ([], [])
    if "status" not in columns or not {"key", "row_id"} & set(columns):
        return  # written by another tool than a fetcher
    for number, row in file_rows(beside, ["key", "row_id", "status", "error_message", "error"]):
        if not isinstance(row, dict):
            yield f"{number}", row.reason if isinstance(row, Bad) else ""
            continue
        status = text(row.get("status"))
        outcome = status if status in FETCHED else text(pick(row, "error_message", "error")) or status or "no status"
        yield string(pick(row, "key", "row_id")) or f"{number}", outcome


def status_file(tar: str) -> str:
    """00000.tar -> 00000.parquet, the naming of img2dataset and `codi2 fetch`."""
    return f"{next((tar[: -len(ending)] for ending in TAR_ENDINGS if tar.lower().endswith(ending)), tar)}.parquet"
