"""OBELICS: Parquet of documents in which texts and images are parallel lists: in each position one of both is null.

Roles are lost, because a document has no turns. Images are stored as bytes instead of URLs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from codi2_datasets.exports.base import Format, Item, Loss, Reading, beyond_pictures, roles_lost
from codi2_datasets.exports.foreign import Unusable, medium, sample_of
from codi2_datasets.exports.parquet import FILES, read_rows, write_rows
from codi2_datasets.exports.trl import MEDIUM
from codi2_datasets.formats.sample import Message, Part, Sample
from codi2_storage.store import Store

SCHEMA = pa.schema(
    [("images", pa.list_(MEDIUM)), ("texts", pa.list_(pa.string())), ("metadata", pa.string()),
     ("general_metadata", pa.string()), ("codi2", pa.string())]
)  # fmt: skip


def write(items: Iterable[Item], store: Store) -> Loss:
    loss = Loss()

    def counted() -> Iterator[Item]:
        for item in items:
            if loss.keep(item, beyond_pictures(item.sample, in_replies=True)):
                roles_lost(item.sample, loss, "split", "sample id", "licence", "task")
                loss.lost["turn"] += len(item.sample.messages)
                yield item

    write_rows(counted(), store, SCHEMA, row_of)
    return loss


def row_of(item: Item) -> dict[str, Any]:
    sample, parts = item.sample, item.sample.parts()
    images = [{"bytes": item.media[p.part], "path": p.part} if p.part else None for p in parts]
    metadata = [{"document_url": sample.sample_id, "src": p.part} if p.part else None for p in parts]
    general = {"sample_id": sample.sample_id, "task": sample.task, "licence": sample.licence}
    return {"images": images, "texts": [p.text for p in parts], "metadata": json.dumps(metadata),
            "general_metadata": json.dumps(general), "codi2": sample.to_json()}  # fmt: skip


def read(store: Store, reading: Reading, loss: Loss) -> Iterator[Item]:
    return read_rows(store, "obelics", loss, lambda row, name, number: item_of(row, reading, loss, name, number))


def item_of(row: dict[str, Any], reading: Reading, loss: Loss, name: str, number: int) -> Item:
    """A row as an item. A document of another tool becomes one reply without a question: text and images to predict."""
    if row.get("codi2"):
        sample = Sample.from_json(row["codi2"])
        loss.written += 1
        shown = {image["path"]: image["bytes"] for image in row["images"] if image}
        return Item(sample, shown)
    parts, media = [], {}
    if len(row["texts"]) != len(row["images"]):
        raise Unusable("images and texts are not as long as each other")
    for place, (text, image) in enumerate(zip(row["texts"], row["images"], strict=True)):
        if text is not None and image is not None:
            raise Unusable("an image and a text in one place")
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
