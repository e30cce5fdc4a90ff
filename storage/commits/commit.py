"""What a commit is: the Parquet files it makes visible, or the rows of shared ones, and the commits it stands on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

KINDS = ("ingest", "build", "forget", "run", "generation", "gate", "deployment", "pin")


@dataclass(frozen=True)
class Manifest:
    """Rows of one table: a Parquet file, or `rows` of a shared one from row `start` on."""

    table: str
    path: str
    rows: int
    sha256: str
    """Of the whole file."""
    start: int = 0
    of: int | None = None
    """Rows of the whole file where it is shared."""

    @property
    def whole(self) -> bool:
        return self.of is None or self.rows == self.of


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
