"""LLaVA: a JSON list of conversations with `<image>` where a picture stands, and the pictures in a folder.

The words '<image>' within a text, or made by two that meet, would be taken for a picture: they are written
'&lt;image&gt;', and counted. Sounds, clips and pictures in replies have no place in the format: such samples are left
out. Folders of others may keep their pictures in folders within images/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
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
from codi2_datasets.exports.foreign import Unusable, medium, sample_of
from codi2_datasets.sample import Message, Part, Sample
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
    conversations = [{"from": SPEAKERS[message.role], "value": said(message, loss)} for message in sample.messages]
    shown = {"image": pictures[0] if len(pictures) == 1 else pictures} if pictures else {}
    return {"id": sample.sample_id, **shown, "conversations": conversations, "codi2": sample.to_dict()}


def said(message: Message, loss: Loss) -> str:
    """The words of a turn, with a mark for each picture and for nothing else."""
    found = []
    for kind, run in groupby(message.content, key=lambda part: part.type):
        parts = list(run)
        if kind == "image":
            found += [TOKEN] * len(parts)
            continue
        text = "".join(part.text or "" for part in parts)
        for name, number in (
            ("<image> within a text, escaped", text.count(TOKEN)),
            ("boundary between texts", len(parts) - 1),
        ):
            if number:
                loss.lost[name] += number
        found.append(text.replace(TOKEN, ESCAPED))
    return "".join(found)


def read(store: Store, reading: Reading, loss: Loss) -> Iterator[Item]:
    names = [name for name in store.list() if name.endswith(".json") and "/" not in name and name != "loss.json"]
    if not names:
        raise ExportError(f"llava: no .json under {store.root}")
    for name in names:
        try:
            entries = json.loads(store.read_bytes(name))
        except ValueError as error:
            raise ExportError(f"llava: {name}: not JSON: {error}") from error
        for number, told in enumerate(entries):
            if "codi2" in told:
                loss.written += 1
                sample = Sample.from_dict(told["codi2"])
                media = {p.part or "": store.read_bytes(picture(sample, p)) for p in media_parts(sample, "image")}
                yield Item(sample, media)
                continue
            try:
                item = foreign(told, number, store, reading, loss, name)
            except Unusable as error:
                loss.left_out[str(error)] += 1
                continue
            yield item


def foreign(told: dict[str, Any], number: int, store: Store, reading: Reading, loss: Loss, name: str) -> Item:
    """A conversation of others. Raises ExportError where pictures and `<image>` differ in number, and Unusable."""
    shown = told.get("image", [])
    pictures = iter([shown] if isinstance(shown, str) else shown)
    speakers = {theirs: ours for ours, theirs in SPEAKERS.items()}
    messages, media, count = [], {}, 0
    for turn in told["conversations"]:
        if turn["from"] not in speakers:
            raise ExportError(f"llava: {name}: {told.get('id')}: unknown speaker {turn['from']!r}")
        role, parts = speakers[turn["from"]], []
        for piece in re.split(f"({TOKEN})", turn["value"]):
            if piece == TOKEN:
                file = next(pictures, None)
                if file is None:
                    raise ExportError(f"llava: {name}: {told.get('id')}: more <image> than pictures")
                member = f"{count:03d}.webp"
                media[member] = medium("image", look_up(file, store))
                parts.append(Part("image", part=member, target=role == "assistant"))
            elif piece:
                parts.append(Part("text", piece.replace(ESCAPED, TOKEN), target=role == "assistant"))
            count += bool(piece)
        messages.append(Message(role, tuple(parts)))  # type: ignore[arg-type]
    if next(pictures, None) is not None:
        raise ExportError(f"llava: {name}: {told.get('id')}: fewer <image> than pictures")
    return Item(sample_of(f"{name}:{number}", messages, name.removesuffix(".json"), reading, loss), media)


def look_up(file: str, store: Store) -> bytes | None:
    """A picture by the name an entry gives it, None where there is none. Raises Unusable for one out of the folder."""
    if ".." in PurePosixPath(file).parts:
        raise Unusable("image out of the folder")
    name = f"images/{file}"
    return store.read_bytes(name) if store.exists(name) else None


FILES = r"(train|validation|test)\.json|images/[^/]+\.\d{3}\.webp"
FORMAT = Format(
    "llava", "JSON conversations with <image> and a folder of pictures, as LLaVA is tuned on", FILES, write, read
)
