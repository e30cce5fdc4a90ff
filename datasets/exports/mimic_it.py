"""MIMIC-IT: instructions and answers in words, with pictures by id, and the ids of related instructions.

Three JSON files a split: SPLIT_instructions.json (instruction, answer, image_ids, rel_ins_ids), SPLIT_images.json
(pictures in base64), SPLIT_train.json (for each instruction its in-context examples). A demonstration becomes an
instruction of its own to which the query's `rel_ins_ids` point; of a conversation each turn does, related to those
before it. Where a picture stands within the text is lost. Answers are words: samples with pictures in replies are left out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
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
from codi2_datasets.exports.foreign import sample_of
from codi2_datasets.sample import Message, Part, Sample
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
            answered = any(message.role == "assistant" for message in sample.messages)
            reason = beyond_pictures(sample, in_replies=False) if answered else "no reply"
            if not loss.keep(item, reason):
                continue
            roles_lost(sample, loss, "sample id", "split", "target")
            loss.lost["place of a picture in the text"] += len(media_parts(sample, "image"))
            for name, entry in entries(sample).items():
                instructions.add(sample.split, f"{json.dumps(name)}: {json.dumps(entry, ensure_ascii=False)}")
                train.add(sample.split, f"{json.dumps(name)}: {json.dumps(entry['rel_ins_ids'])}")
            for part in media_parts(sample, "image"):
                data = base64.b64encode(item.media[part.part or ""]).decode()
                images.add(sample.split, f'{json.dumps(picture(sample, part))}: "{data}"')
    return loss


def picture(sample: Sample, part: Part) -> str:
    return f"CODI2_IMG_{sample.sample_id}_{part.part}"


def entries(sample: Sample) -> dict[str, dict[str, Any]]:
    """The instructions that one sample makes, examples first, by id."""
    found: dict[str, dict[str, Any]] = {}

    def add(kind: str, asked: list[Part], answer: list[Part], related: list[str], **more: Any) -> None:
        found[f"CODI2_INS_{sample.sample_id}_{kind}"] = {
            "instruction": words(asked),
            "answer": words(answer),
            "image_ids": [picture(sample, part) for part in asked if part.type == "image"],
            "rel_ins_ids": related,
            **more,
        }

    demos = [part for part in sample.parts() if part.icl_role in ("demo_input", "demo_output")]
    asked: list[Part] = []
    for part in demos:
        if part.icl_role == "demo_input":
            asked.append(part)
        else:
            add(f"{len(found):02d}", asked, [part], list(found))
            asked = []
    turns = [message for message in sample.messages if message.role != "system"]
    last = max((n for n, message in enumerate(turns) if message.role == "assistant"), default=-1)
    for number, message in enumerate(turns):
        if message.role != "assistant":
            continue
        question = turns[number - 1].content if number and turns[number - 1].role == "user" else ()
        own = [part for part in question if part not in demos]
        whole = {"codi2": sample.to_dict()} if number == last else {}
        add(f"{len(found):02d}", own, list(message.content), list(found), **whole)
    return found


def words(parts: list[Part]) -> str:
    return "".join(part.text or "" for part in parts).strip()


def read(store: Store, reading: Reading, loss: Loss) -> Iterator[Item]:
    names = [name for name in store.list() if name.endswith("_instructions.json")]
    if not names:
        raise ExportError(f"mimic_it: no _instructions.json under {store.root}")
    for name in names:
        data = json.loads(store.read_bytes(name))["data"]
        split = name.removesuffix("_instructions.json")
        file = f"{split}_images.json"
        images = json.loads(store.read_bytes(file)) if store.exists(file) else {}
        ours = any("codi2" in entry for entry in data.values())
        for key, entry in data.items():
            if "codi2" in entry:
                sample = Sample.from_dict(entry["codi2"])
                shown = {
                    p.part or "": base64.b64decode(images[picture(sample, p)]) for p in media_parts(sample, "image")
                }
                loss.written += 1
                yield Item(sample, shown)
            elif not ours:
                yield foreign(key, data, images, split, reading, loss)


def foreign(key: str, data: dict[str, Any], images: dict[str, str], split: str, reading: Reading, loss: Loss) -> Item:
    """An instruction of others after those it is related to. Ids that lead nowhere are counted."""
    parts: list[Part] = []
    media: dict[str, bytes] = {}

    def show(entry: dict[str, Any], role: str | None) -> None:
        for name in entry["image_ids"]:
            if name not in images:
                loss.lost["a picture that is not there"] += 1
                continue
            member = f"{len(parts):03d}.webp"
            media[member] = base64.b64decode(images[name])
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
    loss.written += 1
    return Item(sample_of(key, [Message("user", tuple(parts)), reply], split, reading, loss), media)


FORMAT = Format("mimic_it", "JSON instructions with related examples and pictures in base64, as MIMIC-IT", write, read)
