"""LLaVA: a JSON list of conversations with `<image>` in place of images, and the images in a folder.

The characters '<image>' within a text, or formed by two adjacent texts, would be read as an image: they are written as
'&lt;image&gt;', and counted. Audio, video and images in replies cannot be represented: such samples are left out.
Folders of other tools may have subfolders within images/, and their entries may contain video and audio.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

from codi2_datasets.exports.base import (
    ExportError,
    Format,
    Item,
    Loss,
    Reading,
    beyond_pictures,
    media_parts,
    roles_lost,
)
from codi2_datasets.exports.files import TextFiles
from codi2_datasets.exports.foreign import Unusable, medium, sample_of, usable
from codi2_datasets.formats.sample import EXTENSIONS, Message, Part, Sample
from codi2_datasets.readers.files import has_ending
from codi2_datasets.readers.json_rows import json_rows
from codi2_datasets.readers.llava import in_place, media_of
from codi2_datasets.readers.values import Bad
from codi2_storage.store import Store

TOKEN, ESCAPED = "<image>", "&lt;image&gt;"
SPEAKERS = {"user": "human", "assistant": "gpt", "system": "system"}


def write(items: Iterable[Item], store: Store) -> Loss:
    loss = Loss()
    with TextFiles(store, "{split}.json", "[\n", "\n]\n", ",\n") as files:
        for item in items:
            if not loss.keep(item, beyond_pictures(item.sample, in_replies=False)):
                continue
            roles_lost(item.sample, loss, "sample id", "split", "target")
            files.add(item.sample.split, json.dumps(entry(item.sample, loss), ensure_ascii=False))
            for part in media_parts(item.sample, "image"):
                store.write_bytes(picture(item.sample, part), item.media[part.part or ""])
    return loss


def picture(sample: Sample, part: Part) -> str:
    return f"images/{sample.sample_id}.{part.part}"


def entry(sample: Sample, loss: Loss) -> dict[str, Any]:
    pictures = [picture(sample, part).removeprefix("images/") for part in media_parts(sample, "image")]
    conversations = [
        {"from": SPEAKERS[message.role], "value": marked_text(message, loss)} for message in sample.messages
    ]
    shown = {"image": pictures[0] if len(pictures) == 1 else pictures} if pictures else {}
    return {"id": sample.sample_id, **shown, "conversations": conversations, "codi2": sample.to_dict()}


def marked_text(message: Message, loss: Loss) -> str:
    """The words of a turn, with a mark for each image and nowhere else."""
    texts = []
    for kind, run in groupby(message.content, key=lambda part: part.type):
        parts = list(run)
        if kind == "image":
            texts += [TOKEN] * len(parts)
            continue
        text = "".join(part.text or "" for part in parts)
        for name, number in (
            ("<image> within a text, escaped", text.count(TOKEN)),
            ("boundary between texts", len(parts) - 1),
        ):
            if number:
                loss.lost[name] += number
        texts.append(text.replace(TOKEN, ESCAPED))
    return "".join(texts)


def read(store: Store, reading: Reading, loss: Loss) -> Iterator[Item]:
    names = [
        name for name in store.list()
        if has_ending(name, ".json", ".jsonl") and "/" not in name and name != "loss.json"
    ]  # fmt: skip
    if not names:
        raise ExportError(f"llava: no .json under {store.root}")
    for name in names:
        for number, row in json_rows(store.uri(name)):
            place = f"{name}:{number}"
            if isinstance(row, dict):
                yield from usable(place, loss, partial(item_of, row, place, store, reading, loss))
            else:
                loss.reject(place, row.reason if isinstance(row, Bad) else "no JSON object")


def item_of(row: dict[str, Any], place: str, store: Store, reading: Reading, loss: Loss) -> Item:
    if "codi2" not in row:
        return foreign(row, place, store, reading, loss)
    sample = Sample.from_dict(row["codi2"])
    media = {p.part or "": store.read_bytes(picture(sample, p)) for p in media_parts(sample, "image")}
    loss.written += 1
    return Item(sample, media)


def foreign(row: dict[str, Any], place: str, store: Store, reading: Reading, loss: Loss) -> Item:
    """A conversation of another tool. Raises Unusable, also if the numbers of media and marks differ."""
    speakers = {theirs: ours for ours, theirs in SPEAKERS.items()}
    turns = row["conversations"]
    if unknown := next((turn["from"] for turn in turns if turn["from"] not in speakers), None):
        raise Unusable(f"unknown speaker {unknown!r}")
    listed = media_of(row)
    pieces = listed if isinstance(listed, Bad) else in_place([turn["value"] for turn in turns], listed)
    if isinstance(pieces, Bad):
        raise Unusable(pieces.reason)
    messages, media, count = [], {}, 0
    for turn, own in zip(turns, pieces, strict=True):
        role, parts = speakers[turn["from"]], []
        for kind, value in own:
            if kind == "text":
                parts.append(Part("text", value.replace(ESCAPED, TOKEN), target=role == "assistant"))
            else:
                member = f"{count:03d}.{EXTENSIONS[kind]}"
                media[member] = medium(kind, look_up(kind, value, store))
                parts.append(Part(kind, part=member, target=role == "assistant"))  # type: ignore[arg-type]
            count += 1
        messages.append(Message(role, tuple(parts)))  # type: ignore[arg-type]
    return Item(sample_of(place, messages, place.partition(".")[0], reading, loss), media)


def look_up(kind: str, file: str, store: Store) -> bytes | None:
    """A medium by its name in an entry, None if it does not exist. Raises Unusable for one outside the folder."""
    if ".." in PurePosixPath(file).parts:
        raise Unusable(f"{kind} out of the folder")
    names = (f"{kind}s/{file}", file)
    return next((store.read_bytes(name) for name in names if store.exists(name)), None)


FILES = r"(train|validation|test)\.json|images/[^/]+\.\d{3}\.webp"
FORMAT = Format(
    "llava", "JSON conversations with <image> and a folder of pictures, as LLaVA is tuned on", FILES, write, read
)
