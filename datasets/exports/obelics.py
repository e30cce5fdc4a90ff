"""OBELICS: Parquet of documents, in which texts and pictures are parallel lists: at each place one of both is null.

Who says what is lost: a document has no turns. Pictures are carried as bytes instead of addresses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codi2_datasets.exports.base import ExportError, Format, Item, Loss, Reading, beyond_pictures, roles_lost
from codi2_datasets.exports.files import local_copy, whole_file
from codi2_datasets.exports.foreign import Unusable, medium, sample_of
from codi2_datasets.exports.trl import FILES, MEDIUM
from codi2_datasets.exports.webdataset import lots
from codi2_datasets.sample import Message, Part, Sample
from codi2_storage.store import Store

ROWS = 1000  # a file
SCHEMA = pa.schema(
    [("images", pa.list_(MEDIUM)), ("texts", pa.list_(pa.string())), ("metadata", pa.string()),
     ("general_metadata", pa.string()), ("codi2", pa.string())]
)  # fmt: skip


def write(items: Iterable[Item], store: Store) -> Loss:
    loss = Loss()
    kept = (item for item in items if loss.keep(item, beyond_pictures(item.sample, in_replies=True)))
    for split, number, lot in lots(kept, ROWS):
        for item in lot:
            roles_lost(item.sample, loss, "split", "sample id", "licence", "task")
            loss.lost["turn"] += len(item.sample.messages)
        table = pa.Table.from_pylist([row_of(item) for item in lot], schema=SCHEMA)
        with whole_file(store, f"{split}-{number:05d}.parquet") as path:
            pq.write_table(table, path, compression="zstd")
    return loss


def row_of(item: Item) -> dict[str, Any]:
    sample, parts = item.sample, item.sample.parts()
    images = [{"bytes": item.media[p.part], "path": p.part} if p.part else None for p in parts]
    metadata = [{"document_url": sample.sample_id, "src": p.part} if p.part else None for p in parts]
    general = {"sample_id": sample.sample_id, "task": sample.task, "licence": sample.licence}
    return {"images": images, "texts": [p.text for p in parts], "metadata": json.dumps(metadata),
            "general_metadata": json.dumps(general), "codi2": sample.to_json()}  # fmt: skip


def read(store: Store, reading: Reading, loss: Loss) -> Iterator[Item]:
    names = [name for name in store.list() if name.endswith(".parquet")]
    if not names:
        raise ExportError(f"obelics: no .parquet under {store.root}")
    for name in names:
        start = 0
        with local_copy(store, name) as path:
            for batch in pq.ParquetFile(path).iter_batches(batch_size=ROWS):
                for number, row in enumerate(batch.to_pylist()):
                    try:
                        item = item_of(row, reading, loss, name, start + number)
                    except Unusable as error:
                        loss.left_out[str(error)] += 1
                        continue
                    yield item
                start += len(batch)


def item_of(row: dict[str, Any], reading: Reading, loss: Loss, name: str, number: int) -> Item:
    """A row as an item. A document of others becomes one reply without a question: text and pictures to be foretold."""
    if row.get("codi2"):
        sample = Sample.from_json(row["codi2"])
        loss.written += 1
        shown = {image["path"]: image["bytes"] for image in row["images"] if image}
        return Item(sample, shown)
    parts, media = [], {}
    for place, (text, image) in enumerate(zip(row["texts"], row["images"], strict=True)):
        if text is not None:
            parts.append(Part("text", text, target=True))
        elif isinstance(image, dict) and image.get("bytes"):
            member = f"{place:03d}.webp"
            media[member] = medium("image", image["bytes"])
            parts.append(Part("image", part=member, target=True))
        elif image is not None:
            loss.lost["picture known by its address alone"] += 1
    messages = [Message("user", (Part("text", ""),)), Message("assistant", tuple(parts))]
    return Item(sample_of(f"{name}:{number}", messages, name.split("-")[0], reading, loss), media)


FORMAT = Format("obelics", "Parquet documents of interleaved texts and pictures, as OBELICS", FILES, write, read)
