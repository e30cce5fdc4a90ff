"""Compare two copies of a build byte by byte: every shard, and the rows of every table except clock times.

One copy is published under a root, the other was reproduced elsewhere (`reproduce.py`).
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import IO

import duckdb

from codi2_datasets.runtime.progress import progress
from codi2_storage.catalog.catalog import Catalog
from codi2_storage.store import Store

# columns that identify the copy rather than its content, and clock times
LEFT_OUT = {
    "samples": ["build_id"],
    "parts": ["build_id"],
    "plan": ["build_id"],
    "assets": [],
    "shards": ["build_id"],
    "rejects": ["build_id"],
    "op_runs": ["build_id", "seconds"],
    "signals": [],
    "source_rows": [],
    "corpora": [],
}


@dataclass(frozen=True)
class Compared:
    """Comparison of one kind of content. `first`: the first difference; `note`: what could not be compared."""

    what: str
    number: int
    different: int
    first: str = ""
    note: str = ""


def compare_builds(original: Catalog, build_id: str, again: Catalog, again_id: str) -> list[Compared]:
    """Compare all content of two builds. Raises CatalogError if one of them does not exist."""
    with original.connect(build_id) as then, again.connect(again_id) as now:
        tables = [compare_table(then, now, table) for table in LEFT_OUT]
        shards = compare_shards(original.store, then, again.store, now)
        media = compare_files("media", original.store, media_of(then), again.store, media_of(now))
    renamed = "" if build_id == again_id else f"{build_id} is {again_id} now: code or corpora decide otherwise"
    return [Compared("name of the build", 1, int(bool(renamed)), renamed), shards, media, *tables]


def compare_table(then: duckdb.DuckDBPyConnection, now: duckdb.DuckDBPyConnection, table: str) -> Compared:
    """Compare the rows of one table in any order; a changed row counts once on either side."""
    left_out = f"exclude ({', '.join(LEFT_OUT[table])})" if LEFT_OUT[table] else ""
    with duckdb.connect(":memory:") as both:
        for label, side in (("old", then), ("new", now)):
            both.register(label, side.execute(f'select * {left_out} from "{table}"').to_arrow_table())
        gone, came = (
            both.execute(
                f"select * from (select * from {a} except all select * from {b}) order by all"
            ).to_arrow_table()
            for a, b in (("old", "new"), ("new", "old"))
        )
        number = both.execute("select count(*) from old").fetchone() or (0,)
    first = ""
    if len(gone) or len(came):
        whose, rows = ("only the original has", gone) if len(gone) else ("only the new one has", came)
        values = {key: value for key, value in rows.slice(0, 1).to_pylist()[0].items() if value not in (None, "")}
        first = f"{whose} {', '.join(f'{key} {value}' for key, value in list(values.items())[:4])}"
    return Compared(f"table {table}", int(number[0]), max(len(gone), len(came)), first)


def compare_shards(
    store: Store, then: duckdb.DuckDBPyConnection, other: Store, now: duckdb.DuckDBPyConnection
) -> Compared:
    """Compare the sample shards. One that is missing from the original is compared by its hash in the catalog."""
    query = "select shard, sha256 from shards order by shard"
    old, new = dict(then.execute(query).fetchall()), dict(now.execute(query).fetchall())
    return compare_files("shards", store, old, other, new)


def media_of(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The tars of normalised media that hold the build's assets; no table has their hashes."""
    rows = connection.execute(
        "select distinct shard, '' from assets where starts_with(shard, 'assets/') order by shard"
    ).fetchall()
    return dict(rows)


def compare_files(what: str, store: Store, old: dict[str, str], other: Store, new: dict[str, str]) -> Compared:
    """Compare files by name. `old` and `new` map names to the expected sha256 ('' if unknown)."""
    different, gone, first = 0, 0, ""
    names = sorted({*old, *new})
    with progress(f"compare {what}", len(names), "files") as advance:
        for name in names:
            advance(1)
            if name not in old or name not in new:
                problem = f"{name} is in {'the original' if name in old else 'the new one'} alone"
            elif not store.exists(name):
                gone += 1
                problem = "" if old[name] == new[name] else f"{name} is gone, and has another hash when made again"
            else:
                problem = compare_file(name, store, other, old[name])
            different += bool(problem)
            first = first or problem
    note = f"{gone} gone from the original, known by their recorded hashes" if gone else ""
    return Compared(what, len(names), different, first, note)


def compare_file(name: str, store: Store, other: Store, recorded: str) -> str:
    """Where two tars differ; empty if they are equal."""
    original, again = file_hash(store, name), file_hash(other, name)
    if original == again:
        return ""
    damaged = " (not what was published: its hash is not the catalog's)" if recorded and original != recorded else ""
    return f"{name}: {first_member(store, other, name)}{damaged}"


def file_hash(store: Store, name: str) -> str:
    with store.open_read(name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # `readinto` is there


def first_member(store: Store, other: Store, name: str) -> str:
    """The first member in which two tars of the same name differ."""
    with store.open_read(name) as one, other.open_read(name) as two:
        for old, new in zip_longest(members(one), members(two), fillvalue=("", "")):
            if old != new:
                return f"member {old[0] or new[0] or 'after the last'}"
    return "past the last member"


def members(file: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Name and sha256 of each member, in order. A damaged tar ends with a pair that holds the error."""
    try:
        with tarfile.open(fileobj=file, mode="r|") as tar:
            for member in tar:
                content = tar.extractfile(member)
                yield member.name, hashlib.sha256(content.read() if content else b"").hexdigest()
    except tarfile.TarError as error:
        yield "that cannot be read", str(error)
