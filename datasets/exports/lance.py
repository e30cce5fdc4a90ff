"""Lance: two Lance datasets, for random access to samples and to single media. Lossless. Needs the extra `lance`.

    samples.lance    a row per sample, with columns of the catalog's `samples`, messages, and `media`: its rows in media.lance
    media.lance      a row per medium: sample_id, member, position, modality, asset_id, icl_role, target, and `data` as a blob

`lance.dataset(...).take_blobs("data", indices=row["media"])` opens the media of a sample as files, reading nothing else.
Lance names its files at random: equal samples give equal rows, not equal bytes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from codi2_datasets.exports import trl
from codi2_datasets.exports.base import ExportError, Format, Item, Loss, Reading
from codi2_datasets.exports.foreign import usable
from codi2_datasets.exports.hf import MESSAGE, messages_of
from codi2_datasets.exports.webdataset import lots
from codi2_datasets.formats.sample import Sample
from codi2_storage.store import Store

SAMPLES, MEDIA = "samples.lance", "media.lance"
ROWS = 1000  # per fragment that is written and per batch that is read
SCHEMA = pa.schema(
    [*((name, pa.string()) for name in ("sample_id", "task", "split", "holdout", "licence", "meta")),
     ("seed", pa.int64()), ("n_parts", pa.int64()), ("n_demos", pa.int64()), ("messages", pa.list_(MESSAGE)),
     ("media", pa.list_(pa.int64())), ("codi2", pa.string())]
)  # fmt: skip


def library() -> ModuleType:
    """Lance's package. Raises ExportError if it is not installed."""
    try:
        import lance
    except ImportError as error:
        raise ExportError("lance: the package pylance is not installed: pip install 'codi2-open[lance]'") from error
    return lance


def write(items: Iterable[Item], store: Store) -> Loss:
    lance, loss, count = library(), Loss(), 0
    strings = ((name, pa.string()) for name in ("sample_id", "member", "modality", "asset_id", "icl_role"))
    blobs = pa.schema([*strings, ("position", pa.int64()), ("target", pa.bool_()), lance.blob_field("data")])
    with tempfile.TemporaryDirectory(prefix="codi2-lance-") as folder:
        for _, _, lot in lots(items, ROWS, group=lambda sample: ""):
            media = [row for item in lot for row in media_rows(item)]
            samples = []
            for item in lot:
                members = len(item.media)
                samples.append({**row_of(item.sample), "media": range(count, count + members)})
                count += members
            columns = [lance.blob_array([row["data"] for row in media]) if name == "data"
                       else pa.array([row[name] for row in media], blobs.field(name).type) for name in blobs.names]  # fmt: skip
            mode = "append" if loss.written else "create"
            lance.write_dataset(pa.table(columns, schema=blobs), f"{folder}/{MEDIA}", mode=mode)
            lance.write_dataset(pa.Table.from_pylist(samples, schema=SCHEMA), f"{folder}/{SAMPLES}", mode=mode)
            loss.written += len(lot)
        for name in (MEDIA, SAMPLES):
            store.put_folder(f"{folder}/{name}", name)
    return loss


def row_of(sample: Sample) -> dict[str, Any]:
    parts = sample.parts()
    fields = {name: getattr(sample, name) for name in ("sample_id", "task", "split", "holdout", "licence", "seed")}
    return {
        **fields,
        "meta": json.dumps(sample.meta, ensure_ascii=False),
        "n_parts": len(parts),
        "n_demos": sum(part.icl_role == "demo_output" for part in parts),
        "messages": messages_of(sample),
        "codi2": sample.to_json(),
    }


def media_rows(item: Item) -> Iterator[dict[str, Any]]:
    for position, part in enumerate(item.sample.parts()):
        if part.part is not None:
            yield {"sample_id": item.sample.sample_id, "member": part.part, "position": position, "modality": part.type,
                   "asset_id": part.asset_id, "icl_role": part.icl_role, "target": part.target,
                   "data": item.media[part.part]}  # fmt: skip


def read(store: Store, reading: Reading, loss: Loss) -> Iterator[Item]:
    lance = library()
    if not any(name.startswith(f"{SAMPLES}/") for name in store.list()):
        raise ExportError(f"lance: no {SAMPLES} under {store.root}")
    with tempfile.TemporaryDirectory(prefix="codi2-lance-") as folder:
        local = store.local_path("") or copied(store, folder)
        media = lance.dataset(f"{Path(local) / MEDIA}")
        number = 0
        for batch in lance.dataset(f"{Path(local) / SAMPLES}").to_batches(batch_size=ROWS, scan_in_order=True):
            for row in batch.to_pylist():
                place = f"{SAMPLES}:{number}"
                yield from usable(place, loss, partial(item_of, row, media, reading, loss, place))
                number += 1


def copied(store: Store, folder: str) -> str:
    """A local copy of a folder that is elsewhere."""
    for name in store.list():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.read_bytes(name))
    return folder


def item_of(row: dict[str, Any], media: Any, reading: Reading, loss: Loss, place: str) -> Item:
    """A row as an item, with its media in the columns of `trl`. Rows of other tools need `messages` and `media` alone."""
    columns: dict[str, list[dict[str, bytes]]] = {name: [] for name in trl.COLUMNS.values()}
    if row["media"]:
        modalities = media.take(row["media"], columns=["modality"]).column("modality").to_pylist()
        for modality, blob in zip(modalities, media.take_blobs("data", indices=row["media"]), strict=True):
            columns[trl.COLUMNS[modality]].append({"bytes": blob.readall()})
    return trl.item_of({**row, **columns}, reading, loss, row.get("split") or "train", place)


FILES = rf"({SAMPLES}|{MEDIA})/.+".replace(".lance", r"\.lance")
FORMAT = Format("lance", "Lance datasets of samples and of media as blobs, for random access", FILES, write, read)
