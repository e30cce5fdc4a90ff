"""One shard of a list: fetches what is missing, then writes the tar and last the Parquet file.

    000000.tar       {key}.jpg, {key}.txt, {key}.json of each fetched row, in the list's order
    000000.parquet   every row: key, row_id, url, status, error, ...; in its metadata the hash of rows and options

A rerun keeps settled rows and retries transient failures. A kill between the two files leaves a tar that contains
everything that the older Parquet file lists, so nothing is lost.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codi2_datasets.connectors import Link
from codi2_datasets.fetching import status
from codi2_datasets.fetching.client import Client, session_of
from codi2_datasets.fetching.listing import Slice
from codi2_datasets.fetching.options import Options
from codi2_datasets.fetching.picture import StoredMedium, keep
from codi2_datasets.formats.hashing import canonical, digest
from codi2_datasets.formats.tar import pack
from codi2_datasets.readers.tars import Sample, samples
from codi2_storage.store import Store

SCHEMA = pa.schema(
    [("key", pa.string()), ("row_id", pa.string()), ("url", pa.string()), ("caption", pa.string()),
     ("status", pa.string()), ("error", pa.string()), ("code", pa.int32()), ("width", pa.int32()),
     ("height", pa.int32()), ("bytes", pa.int64()), ("sha256", pa.string())]
)  # fmt: skip
EMPTY_TAR = bytes(10_240)
OPEN_SHARDS, THREADS = 3, 2  # in one process
SPEC = b"codi2-fetch"
HOSTS = b"codi2-allowed-hosts"


@dataclass(frozen=True)
class Job:
    """The input of a worker."""

    out: Store
    rows: Slice
    options: Options

    def spec(self) -> str:
        return digest([self.options.deciding(), [asdict(row) for row in self.rows.rows]])


@dataclass
class Fetched:
    """A row with its result."""

    key: str
    row: Any
    kept: StoredMedium
    code: int | None = None

    def member(self) -> list[tuple[str | None, bytes | None]]:
        if self.kept.status != status.OK:
            return []
        link: Link = self.row
        about = {"row_id": link.row_id, "url": link.url, "caption": link.caption, "attributes": link.attributes,
                 "licence": link.licence, "author": link.author, "status": status.OK, "width": self.kept.width,
                 "height": self.kept.height, "sha256": self.kept.sha256}  # fmt: skip
        words = [(f"{self.key}.txt", link.caption.encode())] if link.caption else []
        return [
            (f"{self.key}.{self.kept.extension}", self.kept.data),
            *words,
            (f"{self.key}.json", canonical(about).encode()),
        ]

    def line(self) -> dict[str, Any]:
        link = self.row if isinstance(self.row, Link) else None
        kept = self.kept
        return {
            "key": self.key, "row_id": link.row_id if link else self.row.locator, "url": link.url if link else None,
            "caption": link.caption if link else None, "status": kept.status, "error": kept.error or None,
            "code": self.code, "width": kept.width, "height": kept.height,
            "bytes": len(kept.data) if kept.data else None, "sha256": kept.sha256 or None,
        }  # fmt: skip


def fetch_shards(jobs: Sequence[Job]) -> list[dict[str, int]]:
    """Fetch what shards lack and write them.

    Returns for each shard the number of rows by status, and under 'asked' the number of rows requested in this run.
    """
    return asyncio.run(Fetching(jobs[0].options).shards(jobs))


class Fetching:
    """Fetches several shards in one event loop: while one waits for its last slow hosts, the next continues."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.at_once = asyncio.Semaphore(options.at_once)
        self.open = asyncio.Semaphore(OPEN_SHARDS)

    async def shards(self, jobs: Sequence[Job]) -> list[dict[str, int]]:
        with ThreadPoolExecutor(THREADS) as self.pool:
            async with session_of(self.options) as session:
                self.client = Client(self.options, session)
                return list(await asyncio.gather(*map(self.shard, jobs)))

    async def shard(self, job: Job) -> dict[str, int]:
        async with self.open:
            spec = job.spec()
            rows = settled(job, spec)
            keys = [f"{job.rows.name}{n:05d}" for n in range(len(job.rows.rows))]
            todo = [(key, row) for key, row in zip(keys, job.rows.rows, strict=True) if key not in rows]
            for result in await asyncio.gather(*(self.row(key, row) for key, row in todo)):
                rows[result.key] = result
            if todo:
                write = partial(write_shard, job, spec, [rows[key] for key in keys])
                await asyncio.get_running_loop().run_in_executor(self.pool, write)
        return {"asked": len(todo), **Counter(result.kept.status for result in rows.values())}

    async def row(self, key: str, row: Any) -> Fetched:
        """Fetch one row, and downscale the result in a thread."""
        if not isinstance(row, Link):
            return Fetched(key, row, StoredMedium(status.BAD_ROW, row.reason))
        async with self.at_once:
            answer = await self.client.get(row.url)
            if answer.status != status.OK:
                return Fetched(key, row, StoredMedium(answer.status, answer.error), answer.code)
            kept = await asyncio.get_running_loop().run_in_executor(self.pool, keep, answer.data, row, self.options)
            return Fetched(key, row, kept, answer.code)


def settled(job: Job, spec: str) -> dict[str, Fetched]:
    """The rows that an earlier run settled, with their media; none if rows or options have changed."""
    name = job.rows.name
    if not (job.out.exists(f"{name}.parquet") and job.out.exists(f"{name}.tar")):
        return {}
    data = job.out.read_bytes(f"{name}.parquet")
    if spec_of(data) != spec.encode():
        return {}
    table = pq.read_table(io.BytesIO(data))
    before = (table.schema.metadata or {}).get(HOSTS, b"").decode().split()
    allowed = set(job.options.hosts) - set(
        before
    )  # newly allowed hosts: rows that were refused as private may be fetched now
    kept_lines = {
        line["key"]: line
        for line in table.to_pylist()
        if not status.transient(line["status"]) and not (allowed and line["status"] == status.PRIVATE)
    }
    again = len(kept_lines) < len(table)  # otherwise the media need not be read
    held = {one.key: one for one in samples(job.out.uri(f"{name}.tar")) if isinstance(one, Sample)} if again else {}
    restored = {}
    for n, row in enumerate(job.rows.rows):
        key = f"{name}{n:05d}"
        line = kept_lines.get(key)
        if line is None or (again and line["status"] == status.OK and key not in held):
            continue
        restored[key] = Fetched(key, row, kept_of(line, held.get(key)), line["code"])
    return restored


def spec_of(parquet: bytes) -> bytes | None:
    """The hash of rows and options that a shard's Parquet file was written for; None if it is damaged or from another
    program.
    """
    try:
        return (pq.read_schema(io.BytesIO(parquet)).metadata or {}).get(SPEC)
    except (pa.ArrowException, OSError):
        return None


def kept_of(line: dict[str, Any], sample: Sample | None) -> StoredMedium:
    members = sample.members if sample else {}
    extension, data = next(((end, data) for end, data in members.items() if end not in ("txt", "json")), ("", b""))
    return StoredMedium(
        line["status"], line["error"] or "", data, extension, line["width"], line["height"], line["sha256"] or ""
    )


def write_shard(job: Job, spec: str, rows: Sequence[Fetched]) -> None:
    archive, _ = pack([member for row in rows for member in row.member()])
    job.out.write_bytes(f"{job.rows.name}.tar", archive or EMPTY_TAR)
    about = {SPEC: spec.encode(), HOSTS: " ".join(job.options.hosts).encode()}
    table = pa.Table.from_pylist([row.line() for row in rows], schema=SCHEMA.with_metadata(about))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    job.out.write_bytes(f"{job.rows.name}.parquet", buffer.getvalue(), durable=True)
