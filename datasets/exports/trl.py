"""Hugging Face messages, as used by TRL: Parquet with `messages`, and media in `images`, `audios` and `videos`.

A content part is {type, text}; a part for a medium has no text, and stands for the next entry in the column of its
modality. The columns are declared as Hugging Face features: `datasets` decodes images on access.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from codi2_datasets.exports.base import Format, Item, Loss, Reading, roles_lost
from codi2_datasets.exports.foreign import Unusable, medium, sample_of
from codi2_datasets.exports.parquet import FILES, read_rows, write_rows
from codi2_datasets.formats.sample import EXTENSIONS, Message, Part, Sample
from codi2_storage.store import Store

COLUMNS = {"image": "images", "audio": "audios", "video": "videos"}
MEDIUM = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
PART = pa.struct([("type", pa.string()), ("text", pa.string())])
MESSAGE = pa.struct([("role", pa.string()), ("content", pa.list_(PART))])
FEATURES = {
    "messages": [{"role": {"dtype": "string", "_type": "Value"},
                  "content": [{"type": {"dtype": "string", "_type": "Value"},
                               "text": {"dtype": "string", "_type": "Value"}}]}],
    "images": {"feature": {"_type": "Image"}, "_type": "List"},
    "audios": {"feature": {"decode": False, "_type": "Audio"}, "_type": "List"},
    "videos": {"feature": {"decode": False, "_type": "Video"}, "_type": "List"},
    "codi2": {"dtype": "string", "_type": "Value"},
}  # fmt: skip
SCHEMA = pa.schema(
    [("messages", pa.list_(MESSAGE)), *((name, pa.list_(MEDIUM)) for name in COLUMNS.values()), ("codi2", pa.string())],
    metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})},
)


def write(items: Iterable[Item], store: Store) -> Loss:
    loss = Loss()

    def counted() -> Iterator[Item]:
        for item in items:
            loss.keep(item, None)
            roles_lost(item.sample, loss, "split")
            yield item

    write_rows(counted(), store, SCHEMA, row_of)
    return loss


def row_of(item: Item) -> dict[str, Any]:
    columns = {name: media_of(item, item.sample.messages, kind) for kind, name in COLUMNS.items()}
    return {**columns, "messages": messages_of(item.sample.messages), "codi2": item.sample.to_json()}


def messages_of(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Rows of MESSAGE."""
    return [
        {"role": message.role, "content": [{"type": part.type, "text": part.text} for part in message.content]}
        for message in messages
    ]


def media_of(item: Item, messages: Iterable[Message], *kinds: str) -> list[dict[str, Any]]:
    """Rows of MEDIUM: the media of these messages in order, all or those of some kinds."""
    parts = [part for message in messages for part in message.content if not kinds or part.type in kinds]
    return [{"bytes": item.media[part.part], "path": part.part} for part in parts if part.part is not None]


def read(store: Store, reading: Reading, loss: Loss) -> Iterator[Item]:
    def made(row: dict[str, Any], name: str, number: int) -> Item:
        return item_of(row, reading, loss, name.split("-")[0], f"{name}:{number}")

    return read_rows(store, "trl", loss, made)


def item_of(row: dict[str, Any], reading: Reading, loss: Loss, split: str, place: str) -> Item:
    """A row as an item: from its field codi2, or, for a row of another tool, from its messages. Raises Unusable."""
    media = {kind: iter(row.get(column) or []) for kind, column in COLUMNS.items()}
    if row.get("codi2"):
        loss.written += 1
        sample = Sample.from_json(row["codi2"])
        by_member = {part.part: next(media[part.type])["bytes"] for part in sample.parts() if part.part}
        return Item(sample, by_member)
    messages, by_member, count = [], {}, 0
    for message in row["messages"]:
        parts = []
        content = message["content"]
        for piece in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            target = message["role"] == "assistant"
            if piece["type"] == "text":
                parts.append(Part("text", piece["text"] or "", target=target))
            elif piece["type"] not in media:
                raise Unusable(f"unknown content part {piece['type']!r}")
            else:
                member = f"{count:03d}.{EXTENSIONS[piece['type']]}"
                entry = next(media[piece["type"]], None)
                by_member[member] = medium(piece["type"], entry["bytes"] if entry else None)
                parts.append(Part(piece["type"], part=member, target=target))  # type: ignore[arg-type]
            count += 1
        messages.append(Message(message["role"], tuple(parts)))
    for kind, left in media.items():
        if next(left, None) is not None:
            raise Unusable(f"{kind} without a place")
    return Item(sample_of(place, messages, split, reading, loss), by_member)


FORMAT = Format(
    "trl", "Parquet of chat messages with media columns, for TRL and Hugging Face datasets", FILES, write, read
)
