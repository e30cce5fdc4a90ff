"""Rows of Parquet in order and in bounded memory, and slices of lists; unreadable rows are `Bad` rather than errors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codi2_datasets.readers.base import CorpusLocation, InputSplit
from codi2_datasets.readers.files import DAMAGE, damage, find, identity, opened
from codi2_datasets.readers.values import Bad, Numbered, need

BATCH = 64  # rows of Parquet in memory at once: they may contain images
SLICE = 20_000  # rows of a list that one worker reads


# --- Parquet -----------------------------------------------------------------------------------------------------


def row_groups(file: str) -> tuple[list[str], list[int]] | None:
    """The columns of a file and the number of rows of each row group; None if it is not Parquet."""
    try:
        with opened(file, seekable=True) as handle:
            table = pq.ParquetFile(handle)
            groups = range(table.num_row_groups)
            return table.schema_arrow.names, [table.metadata.row_group(n).num_rows for n in groups]
    except DAMAGE as error:
        damage(error)
        return None


def parquet_pieces(
    place: CorpusLocation, *wanted: tuple[str, ...], patterns: Sequence[str] = ("*.parquet",)
) -> Iterator[InputSplit]:
    """One piece per row group. A file that is not Parquet is one piece, which `parquet_rows` rejects."""
    yield from pieces_of_parquet(place, find(place.path, patterns), *wanted)


def pieces_of_parquet(place: CorpusLocation, files: Sequence[str], *wanted: tuple[str, ...]) -> Iterator[InputSplit]:
    for file in files:
        columns, groups = row_groups(file) or (None, [1])
        if columns is not None:
            need(file, columns, *wanted)
        name = identity(file)
        yield from (InputSplit(place, file, name, part=n, rows=number) for n, number in enumerate(groups))


def parquet_rows(
    file: str, group: int = 0, columns: Collection[str] | None = None, binary: Collection[str] = ()
) -> Numbered:
    """The rows of one row group, numbered from 0 in the file; `columns`: those to read, if they exist.

    Arrow strings of every type become str; so do bytes, except in the columns `binary`, which hold media.
    """
    number, total = 0, 1
    try:
        with opened(file, seekable=True) as handle:
            table = pq.ParquetFile(handle)
            names = table.schema_arrow.names
            taken = names if columns is None else [name for name in names if name in columns]
            number = sum(table.metadata.row_group(n).num_rows for n in range(group))
            total = number + table.metadata.row_group(group).num_rows
            for batch in table.iter_batches(BATCH, row_groups=[group], columns=taken, use_threads=False):
                for row in plain_rows(batch, binary):
                    yield number, row
                    number += 1
    except DAMAGE as error:
        yield number, Bad(f"damaged file: {damage(error)}", max(1, total - number))


def file_rows(file: str, columns: Collection[str] | None = None, binary: Collection[str] = ()) -> Numbered:
    """The rows of all row groups of a Parquet file."""
    _, groups = row_groups(file) or ([], [1])
    for group in range(len(groups)):
        yield from parquet_rows(file, group, columns, binary)


def plain_rows(batch: pa.RecordBatch, binary: Collection[str]) -> Iterator[dict[str, Any] | Bad]:
    """Rows as plain data; a row with a string that is not UTF-8 is Bad by itself."""
    try:
        yield from as_strings(batch, binary).to_pylist()
        return
    except (UnicodeDecodeError, pa.ArrowInvalid):
        pass
    for n in range(batch.num_rows):
        try:
            yield as_strings(batch.slice(n, 1), binary).to_pylist()[0]
        except (UnicodeDecodeError, pa.ArrowInvalid):
            yield Bad("broken UTF-8")


def as_strings(batch: pa.RecordBatch, binary: Collection[str]) -> pa.RecordBatch:
    """The batch with strings in place of bytes, or of dictionaries of bytes."""
    fields = [field if field.name in binary else field.with_type(with_strings(field.type)) for field in batch.schema]
    if all(field.type == own.type for field, own in zip(fields, batch.schema, strict=True)):
        return batch
    columns = [column.cast(field.type) for column, field in zip(batch.columns, fields, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def with_strings(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.large_string()
    if pa.types.is_dictionary(kind):
        return with_strings(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return (pa.list_ if pa.types.is_list(kind) else pa.large_list)(with_strings(kind.value_type))
    return kind


def image_bytes(value: Any) -> bytes | None:
    """The encoded image in a column, in the hub's form {bytes, path}, or as bytes."""
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) and data else None


# --- slices ------------------------------------------------------------------------------------------------------


def slices(
    place: CorpusLocation, files: Sequence[str], read: Callable[[str], Numbered], kind: str = "", size: int = SLICE
) -> Iterator[InputSplit]:
    """Pieces of `size` rows of each file, as `read` returns them."""
    for file in files:
        total, name = sum(1 for _ in read(file)), identity(file)
        for n, start in enumerate(range(0, max(total, 1), size)):
            yield InputSplit(place, file, name, part=n, kind=kind, rows=min(size, total - start))


def sliced(piece: InputSplit, rows: Numbered, size: int = SLICE) -> Numbered:
    """The rows that belong to the piece."""
    if piece.part is None:
        yield from rows
        return
    for number, row in rows:
        if number >= (piece.part + 1) * size:
            return
        if number >= piece.part * size:
            yield number, row
