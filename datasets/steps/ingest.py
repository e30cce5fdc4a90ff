"""Step 1: corpus revisions -> normalised media in asset shards, with rows in `source_rows` and `ingested`.

The driver reads corpora and cuts their rows into partitions; workers normalise and commit one partition each. Where a
partition begins is decided by the rows themselves, and its id is the hash of all that decides its bytes: a rerun finds
what is there, and a new row moves none but its own partition. In a partition that did change, media that were
normalised before, from the same bytes in the same way, are copied and not made again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Any

import pyarrow.parquet as pq

from codi2_datasets.corpora import Corpus, RejectedRow, SourceRow, corpora
from codi2_datasets.engine import spread
from codi2_datasets.identity import digest, sha256
from codi2_datasets.media import MediaError
from codi2_datasets.media.audio import normalise_audio
from codi2_datasets.media.image import normalise_image
from codi2_datasets.media.video import normalise_video
from codi2_datasets.progress import Advance, progress
from codi2_datasets.recipe import Recipe
from codi2_datasets.sources import Fetched, SourceUnavailable, fetch
from codi2_datasets.tar import pack
from codi2_storage.manifests import Writer, commits, committed
from codi2_storage.store import Store

OP, VERSION = "normalise", "2"
PARTITION_ROWS = 256  # rows of a partition on average; at least a quarter of that, at most four times as many
MEDIA_TYPES = {"image": ("image/webp", "webp"), "audio": ("audio/flac", "flac"), "video": ("video/mp4", "mp4")}


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
    """What media are normalised to; part of every partition's identity."""

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
    """A run of rows of one corpus, and where they go. `known`: media made before, by the sha256 of their source."""

    root: Store
    id: str
    corpus: str
    media: Media
    rows: tuple[SourceRow | RejectedRow, ...]
    known: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A corpus with its packages at hand."""

    corpus: Corpus
    package: Fetched
    companions: dict[str, Fetched]

    @property
    def revision(self) -> Revision:
        digests = [self.package.sha256, *(item.sha256 for _, item in sorted(self.companions.items()))]
        return Revision(self.corpus.name, self.corpus.source, self.package.version, digest(digests)[:64])


def fetch_sources(recipe: Recipe) -> tuple[list[Source], dict[str, SourceUnavailable]]:
    """Fetch every corpus of the recipe. An optional one that cannot be had is returned by name; others raise."""
    found: list[Source] = []
    missing: dict[str, SourceUnavailable] = {}
    known = corpora()
    with progress("fetch", len(recipe.corpora), "corpora") as advance:
        for choice in recipe.corpora:
            corpus = known[choice.name]
            try:
                companions = {source: fetch(source) for source in corpus.companions}
                found.append(Source(corpus, fetch(corpus.source), companions))
            except SourceUnavailable as error:
                if not choice.optional:
                    raise
                missing[choice.name] = error
            advance(1)
    return found, missing


def ingest(store: Store, recipe: Recipe, sources: list[Source], workers: int, limit: int | None) -> list[str]:
    """Bring every source into the store. Returns the ids of the commits that hold them."""
    media = Media.of(recipe)
    ids, todo = [], []
    for source in sources:
        commit_id = corpus_commit_id(source, media, limit)
        commit = committed(store, commit_id, "ingest")
        if commit is None:
            todo.append((commit_id, source))
        ids += [commit_id, *(commit.uses if commit else [])]
    if todo:
        with progress("ingest", None, "rows") as advance:
            for commit_id, source in todo:
                ids += ingest_corpus(store, commit_id, source, media, workers, limit, advance)
    return sorted(set(ids))


def corpus_commit_id(source: Source, media: Media, limit: int | None) -> str:
    parts = [VERSION, PARTITION_ROWS, source.corpus.version, source.revision.revision, media.params(), limit]
    return f"{source.corpus.name}-{digest(parts)[:16]}"


def ingest_corpus(
    store: Store, commit_id: str, source: Source, media: Media, workers: int, limit: int | None, advance: Advance
) -> list[str]:
    """Normalise one corpus, partition by partition; commit it once all are there. Returns the partitions' ids."""
    packages = {name: item.path for name, item in source.companions.items()}
    rows: Iterable[SourceRow | RejectedRow] = source.corpus.rows(source.package.path, packages)
    if limit is not None:
        rows = first_concepts(rows, limit)
    done: list[str] = []
    sources: list[dict[str, Any]] = []
    total = 0
    known = Known(store, source.corpus.name, media)

    def fresh() -> Iterator[Partition]:
        nonlocal total
        for partition, hashes in partitions(store, source.corpus.name, media, rows):
            done.append(partition.id)
            total += len(hashes)
            sources.extend(source_rows(source.revision, partition.rows, hashes))
            if committed(store, partition.id, "ingest"):
                advance(len(partition.rows))
            else:
                yield replace(partition, known=known.among(hashes))

    for partition, _ in spread(ingest_partition, fresh(), workers):
        advance(len(partition.rows))
    corpus, revision = source.corpus, source.revision
    with Writer(store, commit_id, "ingest", uses=done) as writer:
        row = {"corpus": corpus.name, "revision": revision.revision, "source": corpus.source, "rows": total}
        row |= {"version": revision.version, "sha256": source.package.sha256, "licence": corpus.licence}
        writer.append("corpora", [{**row, "description": corpus.description, "ingest_id": commit_id}])
        writer.append("source_rows", sources)
    return done


class Known:
    """Media of a corpus that earlier builds normalised in the same way, by the sha256 of what they were made from."""

    def __init__(self, store: Store, corpus: str, media: Media) -> None:
        self.store, self.info = store, partition_info(corpus, media)
        self.rows: dict[str, dict[str, Any]] | None = None

    def among(self, hashes: Iterable[str | None]) -> dict[str, dict[str, Any]]:
        if self.rows is None:  # looked up once, and only where something is to be done
            self.rows = self.load()
        return {name: self.rows[name] for name in hashes if name in self.rows}

    def load(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for commit in commits(self.store, "ingest"):
            if {key: commit.info.get(key) for key in self.info} != self.info:
                continue
            for file in commit.files:
                if file.table == "ingested":
                    with self.store.open_read(file.path) as handle:
                        table = pq.read_table(handle, columns=["shard", "offset", "source_sha256", *COPIED])
                    found |= {row["source_sha256"]: row for row in table.to_pylist() if row["shard"]}
        return found


COPIED = ["asset_id", "media_type", "bytes", "width", "height", "duration_s", "member"]


def partition_info(corpus: str, media: Media) -> dict[str, Any]:
    """What the commit of a partition says of how its media were made."""
    return {"corpus": corpus, "op": f"{OP}-{VERSION}", "media": media.params()}


def first_concepts(rows: Iterable[SourceRow | RejectedRow], limit: int) -> list[SourceRow | RejectedRow]:
    """At most `limit` rows, the same concepts in every corpus, so that a small build still pairs them."""
    everything = [row for row in rows if isinstance(row, SourceRow)]
    order = sorted(everything, key=lambda row: (digest(row.attributes.get("family")), row.locator))
    kept = {id(row) for row in order[:limit]}
    return [row for row in everything if id(row) in kept]


def partitions(
    store: Store, corpus: str, media: Media, rows: Iterable[SourceRow | RejectedRow]
) -> Iterator[tuple[Partition, list[str | None]]]:
    """Cut rows into partitions whose id is the hash of everything that decides their content.

    A row whose locator hashes to a multiple of PARTITION_ROWS ends its partition. With each comes the sha256 of every
    row's payload, None for a rejected one.
    """
    chunk: list[SourceRow | RejectedRow] = []
    hashes: list[str | None] = []

    def cut() -> tuple[Partition, list[str | None]]:
        key = digest(
            [OP, VERSION, corpus, media.params(), [described(*row) for row in zip(chunk, hashes, strict=True)]]
        )
        return Partition(store, f"{corpus}-p{key[:16]}", corpus, media, tuple(chunk)), hashes

    for row in rows:
        chunk.append(row)
        hashes.append(sha256(row.payload) if isinstance(row, SourceRow) else None)
        ends = len(chunk) >= PARTITION_ROWS // 4 and int(sha256(row.locator)[:8], 16) % PARTITION_ROWS == 0
        if ends or len(chunk) >= 4 * PARTITION_ROWS:
            yield cut()
            chunk, hashes = [], []
    if chunk:
        yield cut()


def described(row: SourceRow | RejectedRow, content: str | None) -> list[Any]:
    if isinstance(row, RejectedRow):
        return [row.locator, row.reason]
    return [row.locator, content, row.media_type, row.caption, row.attributes, row.licence, row.author]


def source_rows(
    revision: Revision, rows: Iterable[SourceRow | RejectedRow], hashes: Iterable[str | None]
) -> list[dict[str, Any]]:
    """Rows of `source_rows`, for those that have a payload."""
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


def source_row_id(row: SourceRow, content: str) -> str:
    return digest([row.corpus, row.locator, content])[:32]


def ingest_partition(partition: Partition) -> int:
    """Normalise and commit one partition. A row that cannot be read becomes a reject. Returns the rows kept."""
    start = time.perf_counter()
    assets, rejects, members = [], [], []
    rejected = failed = 0
    copies = read_known(partition)
    for row in partition.rows:
        ledger = {"build_id": partition.id, "subject": f"{partition.corpus}:{row.locator}", "stage": "ingest", "op": OP}
        if isinstance(row, RejectedRow):
            rejects.append({**ledger, "reason": row.reason})
            rejected += 1
            continue
        content = sha256(row.payload)
        try:
            asset, data = copies[content] if content in copies else normalise(row, partition.media)
        except MediaError as error:
            rejects.append({**ledger, "reason": "unreadable", "error": str(error)})
            failed += 1
            continue
        own = {"source_row_id": source_row_id(row, content), "source_sha256": content, "corpus": row.corpus}
        assets.append({**asset, **own, **described_asset(row)})
        members.append(data)
    shard = f"assets/{partition.id}.tar"
    archive, offsets = pack([(asset["member"], data) for asset, data in zip(assets, members, strict=True)])
    if archive:
        partition.root.write_bytes(shard, archive)
    for asset, offset in zip(assets, offsets, strict=True):
        asset |= {"shard": shard, "offset": offset} if offset is not None else {}
    run = {"build_id": partition.id, "stage": "ingest", "op": OP, "op_version": VERSION}
    run["params"] = json.dumps({"corpus": partition.corpus, **partition.media.params()}, sort_keys=True)
    counts = {"rows_in": len(partition.rows), "rows_out": len(assets), "rejected": rejected, "failed": failed}
    info = partition_info(partition.corpus, partition.media)
    info["modalities"] = sorted({asset["modality"] for asset in assets})
    with Writer(partition.root, partition.id, "ingest", info=info) as writer:
        writer.append("ingested", assets)
        writer.append("rejects", rejects)
        writer.append("op_runs", [{**run, **counts, "seconds": time.perf_counter() - start}])
    return len(assets)


def read_known(partition: Partition) -> dict[str, tuple[dict[str, Any], bytes]]:
    """The media that were made before, read back and checked; what is not as it was is made again."""
    found: dict[str, tuple[dict[str, Any], bytes]] = {}
    ordered = sorted(partition.known.items(), key=lambda item: (item[1]["shard"], item[1]["offset"]))
    for shard, group in groupby(ordered, key=lambda item: item[1]["shard"]):
        items = list(group)
        ranges = [(asset["offset"], asset["offset"] + asset["bytes"]) for _, asset in items]
        try:
            pieces = partition.root.read_ranges(shard, ranges)
        except OSError:
            continue
        for (content, asset), data in zip(items, pieces, strict=True):
            if sha256(data) == asset["asset_id"]:
                found[content] = ({key: asset[key] for key in COPIED}, data)
    return found


def described_asset(row: SourceRow) -> dict[str, Any]:
    """What an asset takes from its row beside the media."""
    attributes = json.dumps(row.attributes, sort_keys=True, ensure_ascii=False)
    return {"modality": row.modality, "caption": row.caption, "licence": row.licence, "attributes": attributes}


def normalise(row: SourceRow, media: Media) -> tuple[dict[str, Any], bytes | None]:
    """One row's medium as columns of `ingested`, and its bytes; text has none, it stays in the table. Raises MediaError."""
    if isinstance(row.payload, str):
        size = len(row.payload.encode())
        text = {"asset_id": sha256(row.payload), "media_type": row.media_type, "bytes": size, "text": row.payload}
        return text | {"member": None}, None
    asset: dict[str, Any] = {}
    if row.modality == "image":
        data = normalise_image(row.payload, row.media_type, media.size)
        asset |= {"width": media.size, "height": media.size}
    elif row.modality == "audio":
        data, seconds = normalise_audio(row.payload, media.sample_rate, media.max_seconds)
        asset |= {"duration_s": round(seconds, 4)}
    elif row.modality == "video":
        data, seconds = normalise_video(row.payload, row.media_type, media.size, media.fps, media.max_video_seconds)
        asset |= {"width": media.size, "height": media.size, "duration_s": round(seconds, 4)}
    else:
        raise MediaError(f"no way to normalise {row.modality}")
    media_type, extension = MEDIA_TYPES[row.modality]
    identity = sha256(data)
    asset |= {"asset_id": identity, "media_type": media_type, "bytes": len(data)}
    return asset | {"member": f"{identity}.{extension}"}, data
