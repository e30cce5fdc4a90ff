"""Parquet manifests that become visible together.

Workers write `catalog/<table>/build=<commit>/<uuid>.parquet` as they go; nobody sees these files until
`catalog/commits/<kind>/<commit>.json` names them, with row counts and hashes. No lock is needed: every writer
makes files of its own, and a commit is one atomic write.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from codi2_storage.store import Store
from codi2_storage.tables import as_table

KINDS = ("ingest", "build", "forget", "run", "generation", "gate", "deployment")


@dataclass(frozen=True)
class Manifest:
    """One Parquet file of one table."""

    table: str
    path: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Commit:
    """What one commit file says. `uses` names the commits whose rows belong to this one as well."""

    id: str
    kind: str
    files: list[Manifest]
    uses: list[str] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Commit:
        fields = json.loads(data)
        return cls(**{**fields, "files": [Manifest(**file) for file in fields["files"]]})


def write_manifest(store: Store, commit_id: str, table: str, rows: pa.Table | list[dict]) -> Manifest:
    """Write rows of one table as a Parquet file that is not visible yet."""
    content = as_table(table, rows)
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
    """Make a commit's files visible, all at once. The same id again replaces what it named before."""
    store.write_bytes(_commit_path(commit.kind, commit.id), commit.to_json(), durable=True)


def committed(store: Store, commit_id: str, kind: str) -> Commit | None:
    """The commit of that id, or None."""
    path = _commit_path(kind, commit_id)
    return Commit.from_json(store.read_bytes(path)) if store.exists(path) else None


def commits(store: Store, kind: str | None = None) -> list[Commit]:
    """Every commit (of a kind), ordered by kind and id."""
    found = []
    for path in store.list(f"catalog/commits/{kind}" if kind else "catalog/commits"):
        try:
            found.append(Commit.from_json(store.read_bytes(path)))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"damaged commit file {store.uri(path)}: {error}") from error
    return found


class Writer:
    """Collects manifests and publishes them on a clean exit; an exception leaves nothing visible.

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

    def add(self, files: list[Manifest]) -> None:
        """Take over manifests that workers have written."""
        self.files.extend(files)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            files = sorted(self.files, key=lambda file: (file.table, file.path))
            publish(self.store, Commit(self.commit_id, self.kind, files, self.uses, self.info))
