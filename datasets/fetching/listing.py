"""A list of addresses, or a connector's links, cut into shards of rows. Read as it goes: a list may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow.parquet as pq

from codi2_datasets.connectors import Link, Place, connectors
from codi2_datasets.connectors.reading import tables
from codi2_datasets.connectors.reading.files import expand, find, opened, short
from codi2_datasets.connectors.reading.pairs import plain
from codi2_datasets.connectors.reading.values import Bad, listed_url, need, pick, text
from codi2_datasets.corpora.base import RejectedRow
from codi2_datasets.fetching.options import FetchError

ADDRESS = ("url", "URL", "contentUrl", "image_url")
PATTERNS = tuple(
    f"*.{kind}{packed}" for kind in ("parquet", "csv", "tsv", "jsonl", "txt") for packed in ("", ".gz", ".zst")
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


def links_of(connector: str, place: Place) -> Iterator[Row]:
    """The addresses of a published corpus. Raises FetchError for a connector without any."""
    known = connectors()
    found = known[connector].links if connector in known else None
    if found is None:
        able = ", ".join(name for name, item in known.items() if item.links)
        raise FetchError(f"connector {connector!r} has no addresses to fetch; those that have: {able}")
    return found(place)


def read_list(path: str) -> Iterator[Row]:
    """Every row of a list: Parquet, CSV, TSV, JSON lines, or an address a line. Raises FetchError where a file has no
    column of addresses, before the first row."""
    files = find(expand(path), PATTERNS)
    for file in files:
        check(file)
    return (row for file in files for row in rows_of(file))


def kind_of(file: str) -> str:
    return file.removesuffix(".gz").removesuffix(".zst").rpartition(".")[2]


def check(file: str) -> None:
    kind = kind_of(file)
    if kind in ("csv", "tsv"):
        need(file, tables.header_of(file, "\t" if kind == "tsv" else ","), ADDRESS)
    elif kind == "parquet":
        with opened(file, seekable=True) as stream:
            need(file, pq.ParquetFile(stream).schema_arrow.names, ADDRESS)
    elif kind not in ("jsonl", "txt"):
        raise FetchError(f"{file}: a list is .parquet, .csv, .tsv, .jsonl or .txt")


def rows_of(file: str) -> Iterator[Row]:
    for number, row in numbered(file):
        locator = f"{short(file)}#{number}"
        yield RejectedRow("", locator, row.reason) if isinstance(row, Bad) else linked(locator, row)


def numbered(file: str) -> Iterator[tuple[Any, Mapping[str, Any] | Bad]]:
    kind = kind_of(file)
    if kind == "parquet":
        with opened(file, seekable=True) as stream:
            groups = pq.ParquetFile(stream).num_row_groups
        for group in range(groups):
            yield from tables.parquet_rows(file, group)
    elif kind == "jsonl":
        yield from tables.json_lines(file)
    elif kind == "txt":
        with opened(file) as stream:
            for number, line in enumerate(stream):
                if line.strip():
                    yield number, {"url": line.decode("utf-8", "replace").strip()}
    else:
        yield from tables.delimited_rows(file, "\t" if kind == "tsv" else ",")


def linked(locator: str, row: Mapping[str, Any]) -> Row:
    """The row's address with the usual columns beside it."""
    url = listed_url(pick(row, *ADDRESS))
    if not url:
        return RejectedRow("", locator, "no address")
    told = plain(row)
    checked = {name: text(row.get(name)) for name in ("sha256", "md5")}
    return Link(locator, url, told.caption, told.attributes, told.licence, told.author, **checked)
