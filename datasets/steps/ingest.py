"""Step 1: corpus revisions -> normalised media in asset shards, with rows in `source_rows` and `ingested`.

The driver reads corpora and divides their rows into partitions; each worker normalises and commits one partition. The
rows themselves determine where a partition starts, and its id is the hash of everything that determines its bytes: a
rerun reuses existing partitions, and a new row changes no other partition. In a changed partition, media that were
already normalised from the same bytes in the same way are copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from codi2_datasets.corpora import Corpus, RejectedRow, SourceRow, corpora
from codi2_datasets.formats.hashing import digest
from codi2_datasets.recipe_schema import Recipe
from codi2_datasets.runtime.progress import Advance, progress
from codi2_datasets.runtime.ray_executor import ray_map
from codi2_datasets.sources.fetch import Fetched, SourceUnavailable, fetch, pinned
from codi2_datasets.steps.ingest_published import Published, ingest_published, look_at
from codi2_datasets.steps.normalise import ingest_partition
from codi2_datasets.steps.partitions import (
    PARTITION_ROWS,
    VERSION,
    Known,
    Media,
    Partition,
    Revision,
    partitions,
    source_rows,
)
from codi2_storage.commits.manifests import Writer, committed
from codi2_storage.store import Store


@dataclass(frozen=True)
class Source:
    """A corpus with its fetched packages."""

    corpus: Corpus
    package: Fetched
    companions: dict[str, Fetched]

    @property
    def revision(self) -> Revision:
        digests = [self.package.sha256, *(item.sha256 for _, item in sorted(self.companions.items()))]
        return Revision(self.corpus.name, self.corpus.source, self.package.version, digest(digests)[:64])


def fetch_sources(recipe: Recipe) -> tuple[list[Source | Published], dict[str, SourceUnavailable]]:
    """Fetch every corpus of the recipe, and check the files of published corpora.

    Returns the sources, and the unavailable optional corpora by name. Raises SourceUnavailable if another one is unavailable.
    """
    sources: list[Source | Published] = []
    missing: dict[str, SourceUnavailable] = {}
    known = corpora()
    with progress("fetch", len(recipe.corpora), "corpora") as advance:
        for choice in recipe.corpora:
            try:
                if choice.name not in known:
                    sources.append(look_at(choice))
                    advance(1)
                    continue
                corpus = known[choice.name]
                companions = {source: fetch(source) for source in corpus.companions}
                sources.append(Source(corpus, fetch(corpus.source), companions))
            except SourceUnavailable as error:
                if not choice.optional:
                    raise
                missing[choice.corpus] = error
            advance(1)
    return sources, missing


def refresh_sources(recipe: Recipe) -> list[str]:
    """Query the registries again for every source whose version the recipe leaves open.

    Returns a line for each that changed.

    If a source is unavailable for now, the cached version stays, so that scheduled builds continue without the
    network.
    """
    known = corpora()
    chosen = [known[choice.name] for choice in recipe.corpora if choice.name in known]
    lines = []
    for source in sorted({name for corpus in chosen for name in (corpus.source, *corpus.companions)}):
        if pinned(source):
            continue
        try:
            before = fetch(source)
            now = fetch(source, refresh=True)
        except SourceUnavailable as error:
            lines.append(f"not refreshed: {error}")
            continue
        if now.sha256 != before.sha256:
            lines.append(f"{source}: {before.version} -> {now.version}")
    return lines


def ingest(
    store: Store, recipe: Recipe, sources: Sequence[Source | Published], workers: int, limit: int | None
) -> list[str]:
    """Ingest every source. Returns the ids of the commits that hold them."""
    media = Media.of(recipe)
    ids: list[str] = []
    todo: dict[str, CorpusIngest] = {}
    for source in sources:
        if isinstance(source, Published):
            ids += ingest_published(store, source, media, workers, limit)
            continue
        commit_id = corpus_commit_id(source, media, limit)
        commit = committed(store, commit_id, "ingest")
        if commit is None:
            todo[commit_id] = CorpusIngest(store, commit_id, source, media)
        ids += [commit_id, *(commit.uses if commit else [])]
    if todo:
        with progress("ingest", None, "rows") as advance:
            ingest_corpora(list(todo.values()), workers, limit, advance)
        ids += [partition for ingest in todo.values() for partition in ingest.partitions]
    return sorted(set(ids))


def corpus_commit_id(source: Source, media: Media, limit: int | None) -> str:
    parts = [VERSION, PARTITION_ROWS, source.corpus.version, source.revision.revision, media.params(), limit]
    return f"{source.corpus.name}-{digest(parts)[:16]}"


class CorpusIngest:
    """One corpus on its way into the store: partitions, which workers make, and the commit that lists them."""

    def __init__(self, store: Store, commit_id: str, source: Source, media: Media) -> None:
        self.store, self.commit_id, self.source, self.media = store, commit_id, source, media
        self.partitions: list[str] = []
        self.pending: set[str] = set()
        self.sources: list[dict[str, Any]] = []
        self.rows = 0

    def fresh(self, limit: int | None, advance: Advance) -> Iterator[Partition]:
        """Partitions that are not in the store yet."""
        corpus = self.source.corpus
        packages = {name: item.path for name, item in self.source.companions.items()}
        rows: Iterable[SourceRow | RejectedRow] = corpus.rows(self.source.package.path, packages)
        if limit is not None:
            rows = first_concepts(rows, limit)
        known = Known(self.store, corpus.name, self.media)
        for partition, hashes in partitions(self.store, corpus.name, self.media, rows):
            self.partitions.append(partition.id)
            self.rows += len(hashes)
            self.sources.extend(source_rows(self.source.revision, partition.rows, hashes))
            if committed(self.store, partition.id, "ingest"):
                advance(len(partition.rows))
            else:
                self.pending.add(partition.id)
                yield replace(partition, known=known.among(hashes))

    def commit(self) -> None:
        corpus, revision = self.source.corpus, self.source.revision
        with Writer(self.store, self.commit_id, "ingest", uses=self.partitions) as writer:
            row = {"corpus": corpus.name, "revision": revision.revision, "source": corpus.source, "rows": self.rows}
            row |= {"version": revision.version, "sha256": self.source.package.sha256, "licence": corpus.licence}
            writer.append("corpora", [{**row, "description": corpus.description, "ingest_id": self.commit_id}])
            writer.append("source_rows", self.sources)


def ingest_corpora(ingests: Sequence[CorpusIngest], workers: int, limit: int | None, advance: Advance) -> None:
    """Normalise corpora, partition by partition, and commit each once all of its partitions are done.

    The next corpus is read while workers still normalise the one before.
    """
    by_partition: dict[str, CorpusIngest] = {}
    read: list[CorpusIngest] = []

    def fresh() -> Iterator[Partition]:
        for ingest in ingests:
            for partition in ingest.fresh(limit, advance):
                by_partition[partition.id] = ingest
                yield partition
            read.append(ingest)
            commit_if_done(ingest)

    def commit_if_done(ingest: CorpusIngest) -> None:
        if ingest in read and not ingest.pending:
            ingest.commit()

    for partition, _ in ray_map(ingest_partition, fresh(), workers):
        advance(len(partition.rows))
        ingest = by_partition[partition.id]
        ingest.pending.remove(partition.id)
        commit_if_done(ingest)


def first_concepts(rows: Iterable[SourceRow | RejectedRow], limit: int) -> list[SourceRow | RejectedRow]:
    """At most `limit` rows, with the same concepts in every corpus, so that a small build can still pair them."""
    everything = [row for row in rows if isinstance(row, SourceRow)]
    order = sorted(everything, key=lambda row: (digest(row.attributes.get("family")), row.locator))
    kept = {id(row) for row in order[:limit]}
    return [row for row in everything if id(row) in kept]
