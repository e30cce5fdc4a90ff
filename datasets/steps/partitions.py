"""Divides corpora into partitions, the unit of ingestion; the rows' content decides the boundaries, not their number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from codi2_datasets.corpora import RejectedRow, SourceRow
from codi2_datasets.formats.hashing import digest, sha256
from codi2_datasets.formats.valid_values import is_plain, plain_json, plain_string
from codi2_datasets.recipe_schema import Recipe
from codi2_storage.commits.manifests import commits, read_rows
from codi2_storage.store import Store

OP, VERSION = "normalise", "4"
PARTITION_ROWS = 256  # average rows of a partition; at least a quarter of it, at most four times as many
PARTITION_BYTES = 256 * 2**20  # payload size at which a partition ends: all payloads are in memory at once
COPIED = [
    "asset_id", "media_type", "bytes", "width", "height", "source_width", "source_height", "duration_s", "member",
]  # fmt: skip


@dataclass(frozen=True)
class Revision:
    """A corpus as it was fetched."""

    corpus: str
    source: str
    version: str
    sha256: str

    @property
    def revision(self) -> str:
        return f"{self.version}-{self.sha256[:12]}"


@dataclass(frozen=True)
class Media:
    """Parameters of media normalisation; part of every partition's id."""

    size: int
    sample_rate: int
    max_seconds: float
    fps: int
    max_video_seconds: float

    def params(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def of(cls, recipe: Recipe) -> Media:
        sound, clip = recipe.audio, recipe.video
        return cls(recipe.image.size, sound.sample_rate, sound.max_seconds, clip.fps, clip.max_seconds)


@dataclass(frozen=True)
class Partition:
    """Consecutive rows of one corpus and their destination. `known`: media already made, by the sha256 of their source."""

    root: Store
    id: str
    corpus: str
    media: Media
    rows: tuple[SourceRow | RejectedRow, ...]
    known: dict[str, dict[str, Any]] = field(default_factory=dict)


def partitions(
    store: Store, corpus: str, media: Media, rows: Iterable[SourceRow | RejectedRow]
) -> Iterator[tuple[Partition, list[str | None]]]:
    """Divide rows into partitions whose id is the hash of everything that determines their content.

    A row whose locator hashes to a multiple of PARTITION_ROWS ends its partition. Yields each partition with the sha256
    of every row's payload, None for a rejected row.
    """
    chunk: list[SourceRow | RejectedRow] = []
    hashes: list[str | None] = []
    size = 0

    def cut() -> tuple[Partition, list[str | None]]:
        key = digest(
            [OP, VERSION, corpus, media.params(), [described(*row) for row in zip(chunk, hashes, strict=True)]]
        )
        return Partition(store, f"{corpus}-p{key[:16]}", corpus, media, tuple(chunk)), hashes

    for row in map(plain_row, rows):
        chunk.append(row)
        hashes.append(sha256(row.payload) if isinstance(row, SourceRow) else None)
        size += len(row.payload) if isinstance(row, SourceRow) else 0
        ends = len(chunk) >= PARTITION_ROWS // 4 and int(sha256(row.locator)[:8], 16) % PARTITION_ROWS == 0
        if ends or len(chunk) >= 4 * PARTITION_ROWS or size >= PARTITION_BYTES:
            yield cut()
            chunk, hashes, size = [], [], 0
    if chunk:
        yield cut()


def plain_row(row: SourceRow | RejectedRow) -> SourceRow | RejectedRow:
    """The row with strings and attributes in a form that the catalog can store."""
    if isinstance(row, RejectedRow):
        return replace(row, locator=plain_string(row.locator), reason=plain_string(row.reason))
    if isinstance(row.payload, str):
        row = replace(row, payload=plain_string(row.payload))
    strings = [row.locator, row.licence, row.author, row.caption]
    if is_plain([strings, row.attributes]):
        return row
    locator, licence, author, caption = map(plain_string, strings)
    return replace(
        row, locator=locator, licence=licence, author=author, caption=caption, attributes=plain_json(row.attributes)
    )


def described(row: SourceRow | RejectedRow, content: str | None) -> list[Any]:
    if isinstance(row, RejectedRow):
        return [row.locator, row.reason]
    return [row.locator, content, row.media_type, row.caption, row.attributes, row.licence, row.author]


def source_row_id(row: SourceRow, content: str) -> str:
    return digest([row.corpus, row.locator, content])[:32]


def source_rows(
    revision: Revision, rows: Iterable[SourceRow | RejectedRow], hashes: Iterable[str | None]
) -> list[dict[str, Any]]:
    """Rows of `source_rows`, for the rows that have a payload."""
    return [
        {
            "source_row_id": source_row_id(row, content),
            "corpus": row.corpus,
            "revision": revision.revision,
            "locator": row.locator,
            "sha256": content,
            "licence": row.licence,
            "author": row.author,
        }
        for row, content in zip(rows, hashes, strict=True)
        if isinstance(row, SourceRow) and content
    ]


class Known:
    """Media of a corpus that earlier builds normalised in the same way, by the sha256 of their source."""

    def __init__(self, store: Store, corpus: str, media: Media) -> None:
        self.store, self.info = store, partition_info(corpus, media)
        self.rows: dict[str, dict[str, Any]] | None = None

    def among(self, hashes: Iterable[str | None]) -> dict[str, dict[str, Any]]:
        if self.rows is None:  # loaded once, and only if there is work to do
            self.rows = self.load()
        return {name: self.rows[name] for name in hashes if name in self.rows}

    def load(self) -> dict[str, dict[str, Any]]:
        made = [c for c in commits(self.store, "ingest") if {key: c.info.get(key) for key in self.info} == self.info]
        files = [file for commit in made for file in commit.files if file.table == "ingested"]
        table = read_rows(self.store, files, ["shard", "offset", "source_sha256", *COPIED])
        return {row["source_sha256"]: row for row in table.to_pylist() if row["shard"]}


def partition_info(corpus: str, media: Media) -> dict[str, Any]:
    """The part of a partition's commit that records how its media were made."""
    return {"corpus": corpus, "op": f"{OP}-{VERSION}", "media": media.params()}
