"""One shard of a list: what is missing is fetched, and tar and Parquet are written, the Parquet last.

    000000.tar       {key}.jpg, {key}.txt, {key}.json of each row that came, in the list's order
    000000.parquet   every row: key, row_id, url, status, error, ...; in its metadata the hash of rows and options

A rerun takes settled rows over and fetches those whose failure may pass. A kill between the two files leaves a tar that holds
all that the older Parquet says, so nothing is lost.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codi2_datasets.connectors import Link
from codi2_datasets.connectors.reading.tars import Sample, samples
from codi2_datasets.fetching import status
from codi2_datasets.fetching.client import Client, session_of
from codi2_datasets.fetching.listing import Slice
from codi2_datasets.fetching.options import Options
from codi2_datasets.fetching.picture import Kept, keep
from codi2_datasets.identity import canonical, digest
from codi2_datasets.tar import pack
from codi2_storage.store import Store

SCHEMA = pa.schema(
    [("key", pa.string()), ("row_id", pa.string()), ("url", pa.string()), ("caption", pa.string()),
     ("status", pa.string()), ("error", pa.string()), ("code", pa.int32()), ("width", pa.int32()),
     ("height", pa.int32()), ("bytes", pa.int64()), ("sha256", pa.string())]
)  # fmt: skip
EMPTY_TAR = bytes(10_240)
SPEC = b"codi2-fetch"


@dataclass(frozen=True)
class Job:
    """What a worker needs."""

    out: Store
    rows: Slice
    options: Options

    def spec(self) -> str:
        return digest([self.options.deciding(), [asdict(row) for row in self.rows.rows]])


@dataclass
class Fetched:
    """A row with what came of it."""

    key: str
    row: Any
    kept: Kept
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


def fetch_shard(job: Job) -> dict[str, int]:
    """Fetch what this shard lacks and write it. Returns how many rows have which status, and under 'asked' how many were
    asked for now."""
    before = settled(job)
    keys = [f"{job.rows.name}{n:05d}" for n in range(len(job.rows.rows))]
    todo = [(key, row) for key, row in zip(keys, job.rows.rows, strict=True) if key not in before]
    if todo:
        fresh = asyncio.run(fetch_rows([row for _, row in todo], job.options))
        for (key, row), (kept, code) in zip(todo, fresh, strict=True):
            before[key] = Fetched(key, row, kept, code)
        write(job, [before[key] for key in keys])
    counts = {"asked": len(todo)}
    for found in before.values():
        counts[found.kept.status] = counts.get(found.kept.status, 0) + 1
    return counts


async def fetch_rows(rows: Sequence[Any], options: Options) -> list[tuple[Kept, int | None]]:
    """Fetch rows side by side, in threads beside it make small what came."""
    at_once = asyncio.Semaphore(options.at_once)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(2) as pool:
        async with session_of(options) as session:
            client = Client(options, session)

            async def one(row: Any) -> tuple[Kept, int | None]:
                if not isinstance(row, Link):
                    return Kept(status.BAD_ROW, row.reason), None
                async with at_once:
                    answer = await client.get(row.url)
                    if answer.status != status.OK:
                        return Kept(answer.status, answer.error), answer.code
                    return await loop.run_in_executor(pool, keep, answer.data, row, options), answer.code

            return list(await asyncio.gather(*(one(row) for row in rows)))


def settled(job: Job) -> dict[str, Fetched]:
    """The rows that an earlier run settled, with their media; none where rows or options were others."""
    name = job.rows.name
    if not (job.out.exists(f"{name}.parquet") and job.out.exists(f"{name}.tar")):
        return {}
    table = pq.read_table(io.BytesIO(job.out.read_bytes(f"{name}.parquet")))
    if (table.schema.metadata or {}).get(SPEC) != job.spec().encode():
        return {}
    told = {line["key"]: line for line in table.to_pylist() if not status.transient(line["status"])}
    again = len(told) < len(table)  # else the media need not be looked at
    held = {one.key: one for one in samples(job.out.uri(f"{name}.tar")) if isinstance(one, Sample)} if again else {}
    found = {}
    for n, row in enumerate(job.rows.rows):
        key = f"{name}{n:05d}"
        line = told.get(key)
        if line is None or (again and line["status"] == status.OK and key not in held):
            continue
        found[key] = Fetched(key, row, kept_of(line, held.get(key)), line["code"])
    return found


def kept_of(line: dict[str, Any], sample: Sample | None) -> Kept:
    members = sample.members if sample else {}
    extension, data = next(((end, data) for end, data in members.items() if end not in ("txt", "json")), ("", b""))
    return Kept(
        line["status"], line["error"] or "", data, extension, line["width"], line["height"], line["sha256"] or ""
    )


def write(job: Job, rows: Sequence[Fetched]) -> None:
    archive, _ = pack([member for row in rows for member in row.member()])
    job.out.write_bytes(f"{job.rows.name}.tar", archive or EMPTY_TAR)
    table = pa.Table.from_pylist([row.line() for row in rows], schema=SCHEMA.with_metadata({SPEC: job.spec().encode()}))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    job.out.write_bytes(f"{job.rows.name}.parquet", buffer.getvalue(), durable=True)
