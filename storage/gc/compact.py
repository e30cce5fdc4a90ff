"""Compaction of small manifests into few large Parquet files; every build reads the same rows as before.

Each partition, and each measurement of one, commits its own files, so that writers need no lock; a million of them make
the first query slow. `compact` copies their rows into large Parquet files and publishes one pack that holds all their
commits under their old ids. Nothing is removed: concurrent readers go on with the files they have listed, and garbage
collection removes those after a grace period.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from codi2_storage.commits.commit import Commit, Manifest
from codi2_storage.commits.manifests import commits, read_rows
from codi2_storage.commits.packs import packs, write_pack
from codi2_storage.coordination.active_runs import wait_for_collector
from codi2_storage.coordination.leases import lease
from codi2_storage.store import Store
from codi2_storage.tables import TABLES

LEAST = 16  # loose commits from which on a pack is worth writing
MOST_PACKS = 8  # above this number all packs are merged into one
GROUP_ROWS = 4_096  # rows of a row group: the least that is read to get the rows of one partition
FILE_ROWS = 2**20
FILE_BYTES = 128 * 2**20  # a file ends when its Parquet data in memory reaches this size
READERS = 8  # files read in parallel, because reads from an object store wait for the network
COMPACTOR = "compactor"  # name of the lease: one compaction at a time, and none during a garbage collection, which would miss what is being copied
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Compacted:
    """What a compaction did; all zero if there was nothing to compact."""

    commits: int = 0
    files_before: int = 0
    files_after: int = 0
    rows: int = 0


def compact(store: Store, advance: Advance = lambda done: None, least: int = LEAST) -> Compacted:
    """Pack the loose ingest commits, and merge all packs into one if there are many.

    `advance` is called with the number of files read. `least`: loose commits below which nothing is packed.
    """
    with lease(store, COMPACTOR, about="a compaction"):
        wait_for_collector(store)
        return pack(store, advance, least)


def pack(store: Store, advance: Advance, least: int) -> Compacted:
    present = packs(store)
    packed = {key for pack in present.values() for key in pack.commits}
    loose = [commit for commit in commits(store, "ingest") if (commit.kind, commit.id) not in packed]
    many = len(present) > MOST_PACKS
    if len(loose) < least and not many:
        return Compacted()
    replaced = present if many else {}
    chosen = loose + [commit for pack in replaced.values() for commit in pack.commits.values()]
    chosen.sort(key=lambda commit: commit.id)
    merged = {commit.id: replace(commit, files=[]) for commit in chosen}
    for table in TABLES:
        for commit_id, manifest in merge(store, table, chosen, advance):
            merged[commit_id].files.append(manifest)
    write_pack(store, merged.values(), tuple(replaced))
    before = {file.path for commit in chosen for file in commit.files}
    after = [file for commit in merged.values() for file in commit.files]
    return Compacted(len(chosen), len(before), len({file.path for file in after}), sum(file.rows for file in after))


def merge(store: Store, table: str, chosen: list[Commit], advance: Advance) -> Iterator[tuple[str, Manifest]]:
    """Copy the commits' rows of one table into new files, in order. Yields each commit's id with its share of a file."""
    files = [(commit.id, file) for commit in chosen for file in commit.files if file.table == table]
    growing = Growing(store, table)
    with ThreadPoolExecutor(READERS) as pool:
        for first in range(0, len(files), 32 * READERS):
            some = files[first : first + 32 * READERS]
            tables = pool.map(lambda item: read_rows(store, [item[1]]), some)
            for (commit_id, file), rows in zip(some, tables, strict=True):
                if len(rows) != file.rows:
                    raise ValueError(
                        f"{store.uri(file.path)} has {len(rows):,} rows, not the {file.rows:,} of its commit"
                    )
                growing.add(commit_id, rows)
                advance(1)
                if growing.full:
                    yield from growing.end()
    yield from growing.end()


class Growing:
    """A shared Parquet file of one table while it is being written."""

    def __init__(self, store: Store, table: str) -> None:
        self.store, self.table = store, table
        self.begin()

    def begin(self) -> None:
        self.buffer = io.BytesIO()
        self.writer = pq.ParquetWriter(self.buffer, TABLES[self.table], compression="zstd")
        self.waiting: list[pa.Table] = []
        self.held = self.rows = 0
        self.shares: list[tuple[str, int, int]] = []  # commit, start, rows

    @property
    def full(self) -> bool:
        return self.rows >= FILE_ROWS or self.buffer.tell() >= FILE_BYTES

    def add(self, commit_id: str, rows: pa.Table) -> None:
        self.shares.append((commit_id, self.rows, len(rows)))
        self.waiting.append(rows)
        self.held += len(rows)
        self.rows += len(rows)
        if self.held >= GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        if self.waiting:
            self.writer.write_table(pa.concat_tables(self.waiting), row_group_size=GROUP_ROWS)
        self.waiting, self.held = [], 0

    def end(self) -> Iterator[tuple[str, Manifest]]:
        """Write the file and start the next one. Yields each commit's id with its share."""
        self.flush()
        self.writer.close()
        if self.shares:
            data = self.buffer.getvalue()
            digest = hashlib.sha256(data).hexdigest()
            path = f"catalog/{self.table}/packed/{digest[:32]}.parquet"
            self.store.write_bytes(path, data)
            for commit_id, start, rows in self.shares:
                yield commit_id, Manifest(self.table, path, rows, digest, start, self.rows)
        self.begin()
