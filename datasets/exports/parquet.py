"""Rows of samples in Parquet files, a thousand each: what the formats that are tables share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codi2_datasets.exports.base import ExportError, Item, Loss
from codi2_datasets.exports.files import local_copy, whole_file
from codi2_datasets.exports.foreign import Unusable
from codi2_datasets.exports.webdataset import lots
from codi2_storage.store import Store

ROWS = 1000  # a file
FILES = r"(train|validation|test)-\d{5,}\.parquet"


def write_rows(
    items: Iterable[Item], store: Store, schema: pa.Schema, row_of: Callable[[Item], dict[str, Any]]
) -> None:
    for split, number, lot in lots(items, ROWS):
        table = pa.Table.from_pylist([row_of(item) for item in lot], schema=schema)
        with whole_file(store, f"{split}-{number:05d}.parquet") as path:
            pq.write_table(table, path, compression="zstd")


def read_rows(
    store: Store, format_name: str, loss: Loss, item_of: Callable[[dict[str, Any], str, int], Item]
) -> Iterator[Item]:
    """The items of every file. `item_of` gets a row, its file and its number there; one that is Unusable is counted."""
    names = [name for name in store.list() if name.endswith(".parquet")]
    if not names:
        raise ExportError(f"{format_name}: no .parquet under {store.root}")
    for name in names:
        start = 0
        with local_copy(store, name) as path:
            for batch in pq.ParquetFile(path).iter_batches(batch_size=ROWS):
                for number, row in enumerate(batch.to_pylist()):
                    try:
                        item = item_of(row, name, start + number)
                    except Unusable as error:
                        loss.left_out[str(error)] += 1
                        continue
                    yield item
                start += len(batch)
