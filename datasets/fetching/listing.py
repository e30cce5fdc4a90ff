"""Splits a list of URLs, or a connector's links, into shards of rows. Streamed: a list may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from codi2_datasets.connectors import CorpusLocation, Link, connectors
from codi2_datasets.corpora.base import RejectedRow
from codi2_datasets.readers.delimited import delimited_rows, header_of
from codi2_datasets.readers.files import DAMAGE, PACKED, damage, expand, find, short
from codi2_datasets.readers.json_rows import json_rows
from codi2_datasets.readers.lines import lines_of
from codi2_datasets.readers.pairs import plain
from codi2_datasets.readers.tables import file_rows, row_groups
from codi2_datasets.readers.values import Bad, Numbered, listed_url, need, pick, text
from codi2_storage.errors import UsageError

ADDRESS = ("url", "URL", "contentUrl", "image_url")
DELIMITERS = {"csv": ",", "tsv": "\t"}
KINDS = ("parquet", "jsonl", "ndjson", "json", "txt", *DELIMITERS)
PATTERNS = tuple(  # for a folder: a .json there is more likely a report than a list
    f"*.{kind}{packed}" for kind in KINDS if kind != "json" for packed in ("", ".gz", ".zst")
)
Row = Link | RejectedRow


@dataclass(frozen=True)
class Slice:
    """The rows of one shard; their keys begin with its name."""

    number: int
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        return f"{self.number:06d}"


def slices(rows: Iterable[Row], size: int) -> Iterator[Slice]:
    source, number = iter(rows), 0
    while taken := tuple(islice(source, size)):
        yield Slice(number, taken)
        number += 1


def links_of(connector: str, place: CorpusLocation) -> Iterator[Row]:
    """The URLs of a published corpus. Raises UsageError for a connector that has none."""
    known = connectors()
    links = known[connector].links if connector in known else None
    if links is None:
        able = ", ".join(name for name, item in known.items() if item.links)
        raise UsageError(f"connector {connector!r} has no addresses to fetch; those that have: {able}")
    return links(place)


def read_list(path: str) -> Iterator[Row]:
    """Every row of a list: Parquet, CSV, TSV, JSON lines, or one URL per line.

    Raises UsageError before the first row if a file has no URL column.
    """
    files = find(expand(path), PATTERNS)
    for file in files:
        check(file)
    return (row for file in files for row in rows_of(file))


def kind_of(file: str) -> str:
    return PACKED.sub("", file.lower().partition("?")[0]).rpartition(".")[2]


def check(file: str) -> None:
    kind = kind_of(file)
    if kind in ("csv", "tsv"):
        need(file, header_of(file, DELIMITERS[kind]), ADDRESS)
    elif kind == "parquet":
        columns, _ = row_groups(file) or (None, ())
        if columns is None:
            raise UsageError(f"{file}: no Parquet file")
        need(file, columns, ADDRESS)
    elif kind not in KINDS:
        raise UsageError(f"{file}: a list is .parquet, .csv, .tsv, .jsonl, .json or .txt")


def rows_of(file: str) -> Iterator[Row]:
    for number, row in numbered(file):
        locator = f"{short(file)}#{number}"
        yield linked(locator, row) if isinstance(row, dict) else RejectedRow("", locator, reason_of(row))


def reason_of(row: object) -> str:
    return row.reason if isinstance(row, Bad) else "no row"


def numbered(file: str) -> Numbered:
    kind = kind_of(file)
    if kind == "parquet":
        return file_rows(file)
    if kind == "txt":
        return url_lines(file)
    return delimited_rows(file, DELIMITERS[kind]) if kind in DELIMITERS else json_rows(file)


def url_lines(file: str) -> Numbered:
    """One URL per line, numbered including empty lines; a carriage return also ends a line."""
    number = -1
    try:
        lines = (part for line in lines_of(file) for part in ([line] if isinstance(line, Bad) else line.split(b"\r")))
        for number, line in enumerate(lines):
            if isinstance(line, Bad):
                yield number, line
            elif line.strip():
                try:
                    yield number, {"url": line.decode()}
                except UnicodeDecodeError:
                    yield number, Bad("broken UTF-8")
    except DAMAGE as error:
        yield number + 1, Bad(f"damaged file: {damage(error)}")


def linked(locator: str, row: Mapping[str, Any]) -> Row:
    """The row's URL, as listed, with the usual columns."""
    url = listed_url(pick(row, *ADDRESS))
    if not url:
        return RejectedRow("", locator, "no address")
    details = plain(row)
    checked = {name: text(row.get(name)) for name in ("sha256", "md5")}
    return Link(locator, url, details.caption, details.attributes, details.licence, details.author, **checked)
