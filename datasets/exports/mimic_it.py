"""MIMIC-IT: instructions and answers in words, with image ids and the ids of related instructions.

Three JSON files per split: SPLIT_instructions.json (instruction, answer, image_ids, rel_ins_ids), SPLIT_images.json
(images in base64), SPLIT_train.json (the in-context examples of each instruction). A demonstration becomes an
instruction of its own, referenced by the query's `rel_ins_ids`; so does each turn of a conversation, related to those
before it. The positions of images within the text, and the texts between examples, are lost. Answers are words: samples
with images in replies, including those of examples, are left out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from functools import partial
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
from codi2_datasets.exports.foreign import medium, sample_of, usable
from codi2_datasets.formats.sample import Message, Part, Sample
from codi2_storage.store import Store

META = {"version": "1", "author": "see ATTRIBUTION"}


def write(items: Iterable[Item], store: Store) -> Loss:
    loss = Loss()
    opening = f'{{"meta": {json.dumps(META)}, "data": {{\n'
    with (
        TextFiles(store, "{split}_instructions.json", opening, "\n}}\n", ",\n") as instructions,
        TextFiles(store, "{split}_images.json", "{\n", "\n}\n", ",\n") as images,
        TextFiles(store, "{split}_train.json", "{\n", "\n}\n", ",\n") as train,
    ):
        for item in items:
            sample = item.sample
            if not loss.keep(item, beyond_words(sample)):
                continue
            roles_lost(sample, loss, "sample id", "split", "target")
            loss.lost["place of a picture in the text"] += len(media_parts(sample, "image"))
            by_id, rest = entries(sample)
            for part in rest:
                loss.lost[f"{part.type} part"] += 1
            for name, entry in by_id.items():
                instructions.add(sample.split, f"{json.dumps(name)}: {json.dumps(entry, ensure_ascii=False)}")
                train.add(sample.split, f"{json.dumps(name)}: {json.dumps(entry['rel_ins_ids'])}")
            for part in media_parts(sample, "image"):
                data = base64.b64encode(item.media[part.part or ""]).decode()
                images.add(sample.split, f'{json.dumps(picture(sample, part))}: "{data}"')
    return loss


def picture(sample: Sample, part: Part) -> str:
    return f"CODI2_IMG_{sample.sample_id}_{part.part}"


def beyond_words(sample: Sample) -> str | None:
    """Why the format cannot hold a sample; None if it can."""
    if not any(message.role == "assistant" for message in sample.messages):
        return "no reply"
    if any(part.icl_role == "demo_output" and part.type == "image" for part in sample.parts()):
        return "a picture in a reply"
    return beyond_pictures(sample, in_replies=False)


def entries(sample: Sample) -> tuple[dict[str, dict[str, Any]], list[Part]]:
    """The instructions made from one sample, examples first, by id; and the parts that they cannot hold."""
    by_id: dict[str, dict[str, Any]] = {}

    def add(kind: str, asked: list[Part], answer: list[Part], related: list[str], **more: Any) -> None:
        by_id[f"CODI2_INS_{sample.sample_id}_{kind}"] = {
            "instruction": words(asked),
            "answer": words(answer),
            "image_ids": [picture(sample, part) for part in asked if part.type == "image"],
            "rel_ins_ids": related,
            **more,
        }

    asked: list[Part] = []
    for part in sample.parts():
        if part.icl_role == "demo_input":
            asked.append(part)
        elif part.icl_role == "demo_output":
            add(f"{len(by_id):02d}", asked, [part], list(by_id))
            asked = []
    rest, asked = asked, []  # incomplete examples
    replies = [number for number, message in enumerate(sample.messages) if message.role == "assistant"]
    for number, message in enumerate(sample.messages):
        own, joints = without_examples(message)
        rest += joints
        if message.role == "system":
            rest += own
        elif message.role == "user":
            asked += own
        else:
            whole = {"codi2": sample.to_dict()} if number == replies[-1] else {}
            add(f"{len(by_id):02d}", asked, own, list(by_id), **whole)
            asked = []
    return by_id, rest + asked


def without_examples(message: Message) -> tuple[list[Part], list[Part]]:
    """The parts of a message outside of examples, without the texts between the first and the last example; and those
    texts.
    """
    places = [n for n, part in enumerate(message.content) if part.icl_role in ("demo_input", "demo_output")]
    if not places:
        return list(message.content), []
    own: list[Part] = []
    joints: list[Part] = []
    for number, part in enumerate(message.content):
        if number in places:
            continue
        inside = places[0] < number < places[-1] and part.icl_role is None and part.type == "text"
        (joints if inside else own).append(part)
    return own, joints


def words(parts: list[Part]) -> str:
    return "".join(part.text or "" for part in parts).strip()


def read(store: Store, reading: Reading, loss: Loss) -> Iterator[Item]:
    names = [name for name in store.list() if name.endswith("_instructions.json")]
    if not names:
        raise ExportError(f"mimic_it: no _instructions.json under {store.root}")
    for name in names:
        try:
            data = json.loads(store.read_bytes(name))["data"]
            split = name.removesuffix("_instructions.json")
            file = f"{split}_images.json"
            images = json.loads(store.read_bytes(file)) if store.exists(file) else {}
            ours = any("codi2" in entry for entry in data.values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ExportError(f"mimic_it: {name}: no instructions under 'data': {error}") from error
        for key, entry in data.items():
            if "codi2" in entry or not ours:
                yield from usable(f"{name}:{key}", loss, partial(item_of, key, data, images, split, reading, loss))


def item_of(key: str, data: dict[str, Any], images: dict[str, str], split: str, reading: Reading, loss: Loss) -> Item:
    if "codi2" not in data[key]:
        return foreign(key, data, images, split, reading, loss)
    sample = Sample.from_dict(data[key]["codi2"])
    shown = {p.part or "": base64.b64decode(images[picture(sample, p)]) for p in media_parts(sample, "image")}
    loss.written += 1
    return Item(sample, shown)


def foreign(key: str, data: dict[str, Any], images: dict[str, str], split: str, reading: Reading, loss: Loss) -> Item:
    """An instruction of another tool, after those it is related to. Unknown ids are counted. Raises Unusable."""
    parts: list[Part] = []
    media: dict[str, bytes] = {}

    def show(entry: dict[str, Any], role: str | None) -> None:
        for name in map(str, entry["image_ids"]):
            if name not in images:
                loss.lost["a picture that is not there"] += 1
                continue
            member = f"{len(parts):03d}.webp"
            media[member] = medium("image", base64.b64decode(images[name]))
            parts.append(Part("image", part=member, icl_role=role))  # type: ignore[arg-type]
        parts.append(Part("text", entry["instruction"], icl_role=role))  # type: ignore[arg-type]

    for name in data[key]["rel_ins_ids"]:
        if name not in data:
            loss.lost["a related instruction that is not there"] += 1
            continue
        show(data[name], "demo_input")
        parts.append(Part("text", data[name]["answer"], icl_role="demo_output"))
    show(data[key], None)
    reply = Message("assistant", (Part("text", data[key]["answer"], icl_role="target", target=True),))
    return Item(sample_of(key, [Message("user", tuple(parts)), reply], split, reading, loss), media)


FILES = r"(train|validation|test)_(instructions|images|train)\.json"
FORMAT = Format(
    "mimic_it", "JSON instructions with related examples and pictures in base64, as MIMIC-IT", FILES, write, read
)
