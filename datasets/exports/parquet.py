"""Samples as rows of Parquet files, a thousand each: shared by the table formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codi2_datasets.exports.base import ExportError, Item, Loss
from codi2_datasets.exports.files import whole_file
from codi2_datasets.exports.foreign import Made, usable
from codi2_datasets.exports.webdataset import lots, split_of
from codi2_datasets.formats.sample import Sample
from codi2_datasets.readers.files import has_ending
from codi2_datasets.readers.tables import file_rows
from codi2_datasets.readers.values import Bad
from codi2_storage.store import Store

ROWS = 1000  # per file
MEDIA = ("images", "audios", "videos", "chosen_media", "rejected_media")  # columns with bytes
FILES = r"(train|validation|test)-\d{5,}\.parquet"


def write_rows(
    items: Iterable[Item],
    store: Store,
    schema: pa.Schema,
    row_of: Callable[[Item], dict[str, Any]],
    group: Callable[[Sample], str] = split_of,
) -> None:
    """Write files of the samples of one group each, GROUP-NUMBER.parquet."""
    for name, number, lot in lots(items, ROWS, group=group):
        write_table(store, name, number, [row_of(item) for item in lot], schema)


def write_table(store: Store, name: str, number: int, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    table = pa.Table.from_pylist(rows, schema=schema)
    with whole_file(store, f"{name}-{number:05d}.parquet") as path:
        pq.write_table(table, path, compression="zstd")


def read_rows(
    store: Store, format_name: str, loss: Loss, made_of: Callable[[dict[str, Any], str, int], Made]
) -> Iterator[Made]:
    """What is made of every row. `made_of` gets a row, its file and its row number; unusable rows become rejects."""
    names = [name for name in store.list() if has_ending(name, ".parquet")]
    if not names:
        raise ExportError(f"{format_name}: no .parquet under {store.root}")
    for name in names:
        for number, row in file_rows(store.uri(name), binary=MEDIA):
            place = f"{name}:{number}"
            if isinstance(row, dict):
                yield from usable(place, loss, partial(made_of, row, name, number))
            else:
                loss.reject(place, row.reason if isinstance(row, Bad) else "no row")
