"""Rows of Parquet, CSV, TSV and JSON lines, in order and in bounded memory; what cannot be read is `Bad` and no error."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codi2_datasets.connectors.base import ConnectorError, Piece, Place
from codi2_datasets.connectors.reading.files import DAMAGE, damage, find, identity, opened
from codi2_datasets.connectors.reading.values import Bad, need

Numbered = Iterator[tuple[int, dict[str, Any] | Bad]]
BATCH = 64  # rows of Parquet held at once: they may carry pictures
SLICE = 20_000  # rows of a list that one worker reads
LONGEST = 16 * 2**20  # bytes of a line of text


# --- Parquet -----------------------------------------------------------------------------------------------------


def parquet_pieces(place: Place, *wanted: tuple[str, ...], patterns: Sequence[str] = ("*.parquet",)) -> Iterator[Piece]:
    """One piece for each row group. A file that is no Parquet is one piece, and rejected as such by `parquet_rows`."""
    for file in find(place.path, patterns):
        try:
            with opened(file, seekable=True) as handle:
                found = pq.ParquetFile(handle)
                columns, groups = found.schema_arrow.names, found.num_row_groups
        except DAMAGE as error:
            damage(error)
            columns, groups = None, 1
        if columns is not None:
            need(file, columns, *wanted)
        name = identity(file)
        yield from (Piece(place, file, name, part=group) for group in range(groups))


def parquet_rows(file: str, group: int = 0, columns: Sequence[str] | None = None) -> Numbered:
    """The rows of one row group, numbered from 0 in the file; `columns` are those to read, of those that are there."""
    number = 0
    try:
        with opened(file, seekable=True) as handle:
            found = pq.ParquetFile(handle)
            names = found.schema_arrow.names
            taken = names if columns is None else [name for name in names if name in columns]
            number = sum(found.metadata.row_group(n).num_rows for n in range(group))
            for batch in found.iter_batches(BATCH, row_groups=[group], columns=taken, use_threads=False):
                for row in plain_rows(batch):
                    yield number, row
                    number += 1
    except DAMAGE as error:
        yield number, Bad(f"damaged file: {damage(error)}")


def plain_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | Bad]:
    """Rows as plain data; one whose text is no UTF-8 is bad by itself."""
    try:
        yield from batch.to_pylist()
        return
    except UnicodeDecodeError:
        pass
    for n in range(batch.num_rows):
        try:
            yield batch.slice(n, 1).to_pylist()[0]
        except UnicodeDecodeError:
            yield Bad("broken UTF-8")


def image_bytes(value: Any) -> bytes | None:
    """The encoded picture of a column as the hub writes it: {bytes, path}, or the bytes themselves."""
    found = value.get("bytes") if isinstance(value, dict) else value
    return found if isinstance(found, bytes) and found else None


# --- CSV and TSV -------------------------------------------------------------------------------------------------


def delimited_rows(
    file: str, delimiter: str = ",", header: Sequence[str] | None = None, comment: str = "", quoted: bool = True
) -> Numbered:
    """Rows as {column: text}, numbered from 0. `header` names the columns of files that do not; `comment` begins lines
    that are none, the last of them before the rows may name the columns ('# YTID, ...').

    Broken UTF-8 and too few fields are `Bad`, that row alone; fields beyond the columns are dropped.
    """
    number = 0
    try:
        with opened(file) as stream:
            lines = io.TextIOWrapper(io.BufferedReader(Bounded(stream)), "utf-8-sig", "surrogateescape", newline="")
            how = {
                "delimiter": delimiter,
                "skipinitialspace": True,
                "quoting": csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
            }
            names = list(header) if header else None
            for fields in tolerant(csv.reader(lines, **how)):  # type: ignore[arg-type]
                if isinstance(fields, list) and (not fields or (comment and fields[0].startswith(comment))):
                    continue
                if isinstance(fields, list) and names is None:
                    names = [name.strip() for name in fields]
                    continue
                yield number, fields if isinstance(fields, Bad) else named(names or [], fields)
                number += 1
    except DAMAGE as error:
        yield number, Bad(f"damaged file: {damage(error)}")


def header_of(file: str, delimiter: str = ",") -> list[str]:
    """The first line's fields."""
    try:
        with opened(file) as stream:
            line = stream.readline(LONGEST).decode("utf-8-sig", "replace")
    except DAMAGE as error:
        raise ConnectorError(f"{file}: cannot be read: {damage(error)}") from error
    return [name.strip() for name in next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), [])]


def tolerant(reader: Any) -> Iterator[list[str] | Bad]:
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Bad("no row of the table")


def named(names: Sequence[str], fields: Sequence[str]) -> dict[str, Any] | Bad:
    if len(fields) < len(names):
        return Bad("too few fields")
    if any("\udc80" <= char <= "\udcff" for field in fields if not field.isascii() for char in field):
        return Bad("broken UTF-8")
    return dict(zip(names, fields, strict=False))


# --- JSON lines --------------------------------------------------------------------------------------------------


def json_lines(file: str) -> Numbered:
    """One object a line, numbered from 0; empty lines are none."""
    number = 0
    try:
        with opened(file) as stream:
            while line := stream.readline(LONGEST):
                if not line.strip():
                    continue
                yield number, json_object(line)
                number += 1
    except DAMAGE as error:
        yield number, Bad(f"damaged file: {damage(error)}")


def json_object(data: bytes | str) -> dict[str, Any] | Bad:
    try:
        found = json.loads(data)
    except UnicodeDecodeError:
        return Bad("broken UTF-8")
    except (ValueError, RecursionError):
        return Bad("no JSON")
    return found if isinstance(found, dict) else Bad("no JSON object")


# --- slices ------------------------------------------------------------------------------------------------------


def slices(place: Place, files: Sequence[str], total: Any, kind: str = "", size: int = SLICE) -> Iterator[Piece]:
    """Pieces of `size` rows of each file; `total` counts the rows of one."""
    for file in files:
        name = identity(file)
        parts = max(1, -(-total(file) // size))
        yield from (Piece(place, file, name, part=n, kind=kind) for n in range(parts))


def sliced(piece: Piece, rows: Numbered, size: int = SLICE) -> Numbered:
    """Those of the rows that the piece stands for."""
    if piece.part is None:
        yield from rows
        return
    for number, row in rows:
        if number >= (piece.part + 1) * size:
            return
        if number >= piece.part * size:
            yield number, row


class Bounded(io.RawIOBase):
    """A stream whose lines are never longer than LONGEST: a line break is put where one is missing."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.since = stream, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        if not data:
            return 0
        last = data.rfind(b"\n")
        self.since = self.since + len(data) if last < 0 else len(data) - last - 1
        if self.since > LONGEST:
            data, self.since = data[:-1] + b"\n", 0
        buffer[: len(data)] = data
        return len(data)
