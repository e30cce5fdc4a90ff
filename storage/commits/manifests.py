"""Parquet manifests and the commits that make them visible together.

Workers write `catalog/<table>/build=<commit>/<uuid>.parquet` as they go. These files stay invisible until
`catalog/commits/<kind>/<commit>.json` lists them, with row counts and hashes. No lock is needed: every writer creates
its own files, and a commit is one atomic write.
"""

from __future__ import annotations

import hashlib
import io
import re
import uuid
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from itertools import groupby
from typing import Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from codi2_storage.commits.commit import KINDS, Commit, Manifest
from codi2_storage.commits.packs import FOLDER as PACKS
from codi2_storage.commits.packs import packs
from codi2_storage.store import Store
from codi2_storage.tables import TABLES, as_table
from codi2_storage.uris import relative

__all__ = ["KINDS", "Commit", "Manifest", "Writer", "commits", "committed", "publish", "read_rows", "write_manifest"]

Found = TypeVar("Found")
LOOKS = 5  # attempts at reading the commits while a collector removes some of them


def write_manifest(store: Store, commit_id: str, table: str, rows: pa.Table | list[dict]) -> Manifest:
    """Write rows of one table as a Parquet file that is not visible yet.

    URIs inside the root are stored relative to it.
    """
    content = as_table(table, rows)
    if "uri" in content.column_names:
        uris = [relative(store, uri) if uri else uri for uri in content["uri"].to_pylist()]
        content = content.set_column(content.column_names.index("uri"), "uri", pa.array(uris, pa.string()))
    buffer = io.BytesIO()
    pq.write_table(content, buffer, compression="zstd")
    data = buffer.getvalue()
    path = f"catalog/{table}/build={commit_id}/{uuid.uuid4().hex}.parquet"
    store.write_bytes(path, data)
    return Manifest(table, path, content.num_rows, hashlib.sha256(data).hexdigest())


def _commit_path(kind: str, commit_id: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"unknown kind of commit {kind!r}; known: {', '.join(KINDS)}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", commit_id):
        raise ValueError(f"not a commit id: {commit_id!r}")
    return f"catalog/commits/{kind}/{commit_id}.json"


def publish(store: Store, commit: Commit) -> None:
    """Make a commit's files visible, all at once. Publishing the same id again replaces the earlier commit."""
    store.write_bytes(_commit_path(commit.kind, commit.id), commit.to_json(), durable=True)


def committed(store: Store, commit_id: str, kind: str) -> Commit | None:
    """The commit with that id, or None. Raises ValueError for an unknown kind or an invalid id."""
    path = _commit_path(kind, commit_id)

    def look() -> Commit | None:
        if store.exists(path):
            return Commit.from_json(store.read_bytes(path))
        return next((packed for pack in packs(store).values() if (packed := pack.commits.get((kind, commit_id)))), None)

    return settled(look)


def commits(store: Store, kind: str | None = None) -> list[Commit]:
    """All commits (of one kind), ordered by kind and id. Raises ValueError if a commit file is damaged."""
    return settled(lambda: _commits(store, kind))


def _commits(store: Store, kind: str | None) -> list[Commit]:
    names = store.list(f"catalog/commits/{kind}" if kind else "catalog/commits")
    by_key: dict[tuple[str, str], Commit] = {}
    for pack in packs(store).values():
        by_key |= {key: commit for key, commit in pack.commits.items() if kind in (None, key[0])}
    for path in names:
        *_, folder, name = path.split("/")
        if path.startswith(f"{PACKS}/") or (folder, name.removesuffix(".json")) in by_key:
            continue
        data = store.read_bytes(path)
        try:
            commit = Commit.from_json(data)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"damaged commit file {store.uri(path)}: {error}") from error
        by_key[commit.kind, commit.id] = commit
    return [by_key[key] for key in sorted(by_key)]


def settled(look: Callable[[], Found]) -> Found:
    """Run `look` and return its result; run it again if a file was removed between listing and reading."""
    for _ in range(LOOKS):
        with suppress(FileNotFoundError):
            return look()
    return look()


def read_rows(store: Store, manifests: Iterable[Manifest], columns: Collection[str] | None = None) -> pa.Table:
    """The rows of manifests of one table; each file is opened once. Columns that a file lacks are null."""
    ordered = sorted(manifests, key=lambda file: (file.path, file.start))
    parts = []
    for path, shares in groupby(ordered, key=lambda file: file.path):
        with store.open_read(path) as handle:
            parts += stretches(pq.ParquetFile(handle), list(shares), columns)
    names = list(columns or TABLES[ordered[0].table].names) if ordered else list(columns or [])
    return pa.concat_tables(parts) if parts else pa.table({name: [] for name in names})


def stretches(file: pq.ParquetFile, shares: list[Manifest], columns: Collection[str] | None) -> list[pa.Table]:
    """Read parts of a file, in the columns of their table. Only the row groups that hold some of the rows are read."""
    table = shares[0].table
    wanted = list(columns or TABLES[table].names)
    present = [name for name in wanted if name in file.schema_arrow.names]
    parts, begin = [], 0
    for number in range(file.num_row_groups):
        end = begin + file.metadata.row_group(number).num_rows
        inside = [share for share in shares if share.start < end and share.start + share.rows > begin]
        if inside:
            group = as_table(table, file.read_row_group(number, columns=present)).select(wanted)
            for share in inside:
                first, last = max(share.start, begin), min(share.start + share.rows, end)
                parts.append(group.slice(first - begin, last - first))
        begin = end
    return parts


class Writer:
    """Collects manifests and publishes them on a clean exit; after an exception nothing becomes visible.

    >>> with Writer(store, "run-1", kind="run") as writer:
    ...     writer.append("metrics", [{"run_id": "run-1", "metric": "loss", "value": 0.5}])
    """

    def __init__(
        self, store: Store, commit_id: str, kind: str, uses: list[str] | None = None, info: dict | None = None
    ) -> None:
        _commit_path(kind, commit_id)
        self.store, self.commit_id, self.kind = store, commit_id, kind
        self.uses, self.info = list(uses or []), dict(info or {})
        self.files: list[Manifest] = []

    def append(self, table: str, rows: pa.Table | list[dict]) -> None:
        if len(rows):
            self.files.append(write_manifest(self.store, self.commit_id, table, rows))

    def rename(self, commit_id: str) -> None:
        """Publish under another id, for callers that learn the final id only while writing."""
        _commit_path(self.kind, commit_id)
        self.commit_id = commit_id

    def add(self, files: list[Manifest]) -> None:
        """Add manifests that workers have written."""
        self.files.extend(files)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            files = sorted(self.files, key=lambda file: (file.table, file.path))
            publish(self.store, Commit(self.commit_id, self.kind, files, self.uses, self.info))
