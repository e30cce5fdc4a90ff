"""Commit and Manifest: the Parquet files, or rows of shared files, that a commit makes visible, and its dependencies."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

KINDS = ("ingest", "build", "forget", "run", "generation", "gate", "deployment", "pin")


@dataclass(frozen=True)
class Manifest:
    """Rows of one table: a whole Parquet file, or `rows` rows of a shared file from row `start` on."""

    table: str
    path: str
    rows: int
    sha256: str
    """Hash of the whole file."""
    start: int = 0
    of: int | None = None
    """Number of rows of the whole file if it is shared."""

    @property
    def whole(self) -> bool:
        return self.of is None or self.rows == self.of


@dataclass(frozen=True)
class Commit:
    """The content of one commit file. `uses`: ids of the commits whose rows also belong to this one."""

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
