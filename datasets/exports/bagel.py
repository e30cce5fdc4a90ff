"""BAGEL: Megatron Energon shards of interleaved rows of text and images, with a loss mark on every part.

As in the shards that NVIDIA's BAGEL recipes read, the images of a sample are members KEY.image0, KEY.image1, ..., and
KEY.json counts them (`image_count`). Its `parts` are, in order, the arguments of BAGEL's add_text and add_image: `need_loss`
marks what is to be predicted; `need_vae` and `need_vit` say how an image is shown to what follows it; `enable_cfg` whether
training may drop the part. Samples with audio or video are left out.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from typing import Any

from codi2_datasets.exports.base import ExportError, Format, Item, Loss, Reading, beyond_pictures, roles_lost
from codi2_datasets.exports.energon import FILES, prepare
from codi2_datasets.exports.files import whole_file
from codi2_datasets.exports.foreign import Unusable, medium, sample_of, usable
from codi2_datasets.exports.webdataset import SAMPLES, lots
from codi2_datasets.formats.sample import EXTENSIONS, Message, Part, Sample
from codi2_datasets.formats.tar import add_member
from codi2_datasets.readers.tars import Sample as Row
from codi2_datasets.readers.tars import samples
from codi2_datasets.readers.values import Bad
from codi2_storage.store import Store


def write(items: Iterable[Item], store: Store) -> Loss:
    loss = Loss()

    def counted() -> Iterator[Item]:
        for item in items:
            if loss.keep(item, beyond_pictures(item.sample, in_replies=True)):
                roles_lost(item.sample, loss, "target mark", "split", "sample id", "task", "licence")
                loss.lost["turn"] += len(item.sample.messages)
                yield item

    for split, number, lot in lots(counted(), SAMPLES):
        with (
            whole_file(store, f"{split}-{number:05d}.tar") as path,
            tarfile.open(path, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for item in lot:
                add_row(archive, item)
    prepare(store)
    return loss


def add_row(archive: tarfile.TarFile, item: Item) -> None:
    sample = item.sample
    images = [part.part for part in sample.parts() if part.part is not None]
    for number, member in enumerate(images):
        add_member(archive, f"{sample.sample_id}.image{number}", item.media[member])
    row = {"task": sample.task, "licence": sample.licence, "image_count": len(images), "parts": plan(sample)}
    add_member(
        archive,
        f"{sample.sample_id}.json",
        json.dumps({**row, "codi2": sample.to_dict()}, ensure_ascii=False).encode(),
    )


def plan(sample: Sample) -> list[dict[str, Any]]:
    """The parts of a row. Images are shown to the VAE only in samples that predict an image."""
    parts = sample.parts()
    generates = any(part.type == "image" and part.target for part in parts)
    planned = []
    for number, part in enumerate(parts):
        marks = {"need_loss": int(part.target), "enable_cfg": int(generates and not part.target)}
        if part.type == "text":
            planned.append({"type": "text", "text": part.text, **marks})
            continue
        shown = number < len(parts) - 1 or not part.target
        planned.append({"type": "image", **marks, "need_vae": int(shown and generates), "need_vit": int(shown)})
    return planned


def read(store: Store, reading: Reading, loss: Loss) -> Iterator[Item]:
    names = [name for name in store.list() if name.endswith(".tar")]
    if not names:
        raise ExportError(f"bagel: no .tar under {store.root}")
    for name in names:
        for row in samples(store.uri(name)):
            if isinstance(row, tuple):
                loss.reject(f"{name}:{row[0]}", row[1].reason)
                continue
            place = f"{name}:{row.key}"
            yield from usable(place, loss, partial(item_of, row, reading, loss, name.split("-")[0], place))


def item_of(row: Row, reading: Reading, loss: Loss, split: str, place: str) -> Item:
    """A row as an item. Parts of another tool's row become turns: a reply is what has a loss. Raises Unusable."""
    data = row.json()
    if isinstance(data, Bad):
        raise Unusable(data.reason)
    images = [row.members[f"image{number}"] for number in range(data["image_count"])]
    if data.get("codi2"):
        sample = Sample.from_dict(data["codi2"])
        loss.written += 1
        members = [part.part for part in sample.parts() if part.part is not None]
        return Item(sample, dict(zip(members, images, strict=True)))
    messages: list[Message] = []
    media: dict[str, bytes] = {}
    position = 0
    for target, run in groupby(data["parts"], key=lambda part: bool(part["need_loss"])):
        parts = []
        for part in run:
            if part["type"] == "text":
                parts.append(Part("text", part["text"], target=target))
            else:
                member = f"{position:03d}.{EXTENSIONS['image']}"
                media[member] = medium("image", images[len(media)])
                parts.append(Part("image", part=member, target=target))
            position += 1
        messages.append(Message("assistant" if target else "user", tuple(parts)))
    return Item(sample_of(place, messages, split, reading, loss), media)


FORMAT = Format(
    "bagel", "Energon shards of interleaved texts and images with a loss mark per part, for BAGEL", FILES, write, read
)
