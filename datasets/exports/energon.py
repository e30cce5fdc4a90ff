"""Megatron Energon: WebDataset tars with the folder `.nv-meta` and the index files that Energon requires.

Same output as `energon prepare` (version 7): .info.json counts the samples of each shard, split.yaml lists the shards
of each split, dataset.yaml the class, index.sqlite and FILE.tar.idx the position of each sample. Lossless.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from codi2_datasets.exports import webdataset
from codi2_datasets.exports.base import Format, Item, Loss, Reading
from codi2_datasets.exports.files import local_copy, whole_file
from codi2_datasets.formats.hashing import digest
from codi2_storage.store import Store

SPLITS = {"train": "train", "validation": "val", "test": "test"}
CLASS = {"__module__": "megatron.energon", "__class__": "CrudeWebdataset"}
TABLES = """
    create table samples (tar_file_id integer not null, sample_key text not null unique, sample_index integer not null,
                          byte_offset integer, byte_size integer);
    create table sample_parts (tar_file_id integer, sample_index integer, part_name text,
                               content_byte_offset integer, content_byte_size integer)"""
INDEXES = """
    create index idx_samples_sample_key on samples(sample_key);
    create index idx_samples_by_tar_and_idx on samples(tar_file_id, sample_index);
    create index idx_sample_parts_seq on sample_parts(tar_file_id, sample_index, content_byte_offset);
    create index idx_sample_parts_full on sample_parts(
        tar_file_id, sample_index, part_name, content_byte_offset, content_byte_size)"""


def write(items: Iterable[Item], store: Store) -> Loss:
    loss = webdataset.write(items, store)
    prepare(store)
    return loss


def prepare(store: Store) -> None:
    """Write what `energon prepare` writes for the shards of a folder."""
    shards = [name for name in store.list() if name.endswith(".tar")]
    counts = {}
    with whole_file(store, ".nv-meta/index.sqlite") as path:
        database = sqlite3.connect(path)
        database.executescript(TABLES)
        for number, name in enumerate(shards):
            counts[name] = index_shard(store, name, number, database)
        database.executescript(INDEXES)
        database.commit()
        database.close()
    parts = {kind: [name for name in shards if name.startswith(f"{split}-")] for split, kind in SPLITS.items()}
    metadata = {
        ".nv-meta/.info.json": json.dumps({"energon_version": "7.4.1", "shard_counts": counts}, indent=2),
        ".nv-meta/split.yaml": yaml.safe_dump({"exclude": [], "split_parts": parts}),
        ".nv-meta/dataset.yaml": yaml.safe_dump(CLASS),
        ".nv-meta/index.uuid": digest(counts)[:32],
    }
    for name, text in metadata.items():
        store.write_bytes(name, text.encode())


def index_shard(store: Store, name: str, number: int, database: sqlite3.Connection) -> int:
    """Add one shard's samples to the index, and write their offsets beside the shard. Returns their number."""
    starts: list[int] = []
    samples, parts = [], []
    with local_copy(store, name) as path, tarfile.open(path) as archive:
        key = None
        for member in archive:
            base, _, part = member.name.partition(".")
            if base != key:
                key = base
                starts.append(member.offset)
                samples.append(base)
            parts.append((number, len(starts) - 1, part, member.offset_data, member.size))
        end = archive.offset  # after the last member
        size = Path(path).stat().st_size
    ends = [*starts[1:], end]
    rows = [(number, key, n, starts[n], ends[n] - starts[n]) for n, key in enumerate(samples)]
    database.executemany("insert into samples values (?, ?, ?, ?, ?)", rows)
    database.executemany("insert into sample_parts values (?, ?, ?, ?, ?)", parts)
    offsets = [*starts, min(end, size)]
    store.write_bytes(f"{name}.idx", struct.pack(f"<{len(offsets)}Q", *offsets))
    return len(starts)


def read(store: Store, reading: Reading, loss: Loss) -> Iterator[Item]:
    return webdataset.read(store, reading, loss)


FILES = rf"{webdataset.FILES}(\.idx)?|\.nv-meta/[^/]+"
FORMAT = Format("energon", "WebDataset tars with .nv-meta, for Megatron Energon", FILES, write, read)
