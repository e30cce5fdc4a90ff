"""Step 1 for published corpora in the user's own files: each worker reads one piece of the files.

The driver handles only names of pieces. A piece's id is the hash of its file's content and of the options for reading
it: a rerun reads no row of an existing piece. The rows of a piece are divided into partitions as for any corpus, so
that an added row costs one partition's work. With a limit, one worker reads the first rows of all pieces in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from codi2_datasets.connectors import Connector, CorpusLocation, InputSplit, connectors
from codi2_datasets.corpora import RejectedRow, SourceRow
from codi2_datasets.formats.hashing import digest
from codi2_datasets.planning.licences import KNOWN
from codi2_datasets.readers.entities import segmented
from codi2_datasets.readers.files import expand, folder_identity, keep_for, short
from codi2_datasets.recipe_schema import PLACES, CorpusChoice
from codi2_datasets.runtime.progress import progress
from codi2_datasets.runtime.ray_executor import ray_map
from codi2_datasets.steps.normalise import ingest_partition
from codi2_datasets.steps.partitions import PARTITION_ROWS, VERSION, Media, Revision, partitions, source_rows
from codi2_storage.commits.manifests import Writer, committed
from codi2_storage.store import Store

FEW = 2  # pieces that are read in this process rather than on Ray: each may hold thousands of media
HELD = 20_000  # rows of `source_rows` buffered before they are written


@dataclass(frozen=True)
class Published:
    """A connector of the recipe with its files."""

    place: CorpusLocation
    corpus: Connector
    limit: int
    pieces: tuple[InputSplit, ...]

    how: dict[str, Any]
    """The options that determine the rows: the content of files, not where they are."""

    @property
    def revision(self) -> Revision:
        content = digest([self.how, *map(named, self.pieces)])
        return Revision(self.place.corpus, self.corpus.homepage, self.corpus.version, content)


def named(piece: InputSplit) -> list[Any]:
    return [short(piece.file), piece.identity, piece.part, piece.kind]


@dataclass(frozen=True)
class Reading:
    """The work of one worker: pieces read one after the other, at most `limit` rows of them."""

    root: Store
    id: str
    place: CorpusLocation
    connector: str
    pieces: tuple[InputSplit, ...]
    content: str
    """Hash of the whole corpus: cached data of workers is valid while it stays the same."""
    media: Media
    limit: int | None


def look_at(choice: CorpusChoice) -> Published:
    """Find the files and check them.

    Raises SourceUnavailable if they are missing, ConnectorError if they lack a needed column.
    """
    keep_for("")
    connector = connectors()[choice.name]
    options = {key: expand(value) if isinstance(value, str) else value for key, value in choice.options.items()}
    place = CorpusLocation(choice.corpus, expand(choice.path), expand(choice.media), {**connector.options, **options})
    how: dict[str, Any] = {key: value for key, value in place.options.items() if key not in PLACES}
    if folder := options.get("segment"):
        how["segment"] = folder_identity(folder, ("*",))
    return Published(place, connector, choice.limit, tuple(connector.pieces(place)), how)


def ingest_published(
    store: Store, source: Published, media: Media, workers: int, limit: int | None = None
) -> list[str]:
    """Ingest one published corpus. Returns the ids of the commits that hold it."""
    ids: list[str] = []
    todo = []
    for item in readings(store, source, media, limit):
        commit = committed(store, item.id, "ingest")
        if commit is None:
            todo.append(item)
        else:
            ids += [item.id, *commit.uses]
    if todo:
        with progress(f"ingest {source.place.corpus}", len(todo), "pieces") as advance:
            for _, done in ray_map(read_pieces, todo, workers, few=FEW):
                ids += done
                advance(1)
    return ids


def revisions(store: Store, source: Published, media: Media, limit: int | None) -> set[str]:
    """The revisions that the table `corpora` will have, before any of the files is read."""
    return {revision_of(item).revision for item in readings(store, source, media, limit)}


def revision_of(item: Reading) -> Revision:
    connector = connectors()[item.connector]
    content = digest([piece.identity for piece in item.pieces])
    return Revision(item.place.corpus, connector.homepage, connector.version, content)


def readings(store: Store, source: Published, media: Media, limit: int | None) -> Iterator[Reading]:
    limits = [number for number in (limit, source.limit) if number]
    limit = min(limits) if limits else None
    content = source.revision.sha256
    groups = [source.pieces] if limit is not None else [(piece,) for piece in source.pieces]
    for pieces in groups:
        connector, place = source.corpus, source.place
        parts = [
            VERSION,
            PARTITION_ROWS,
            connector.name,
            connector.version,
            source.how,
            [*map(named, pieces)],
            media.params(),
            limit,
        ]
        name = f"{place.corpus}-f{digest(parts)[:16]}"
        yield Reading(store, name, place, connector.name, pieces, content, media, limit)


def read_pieces(item: Reading) -> list[str]:
    """Normalise and commit the rows of some pieces. Returns the ids of the commit and of its partitions.

    If rows failed for now, the commit's id also depends on the failures: the pieces' own id stays free, and the next
    build reads them again. The same failures give the same id.
    """
    keep_for(item.content)
    connector, revision = connectors()[item.connector], revision_of(item)
    done: list[str] = []
    waiting: list[dict[str, Any]] = []
    passing: list[str] = []
    total = 0
    with Writer(item.root, item.id, "ingest") as writer:
        rows = islice(rows_of(connector, item), item.limit)
        for partition, hashes in partitions(item.root, item.place.corpus, item.media, rows):
            if not committed(item.root, partition.id, "ingest"):
                ingest_partition(partition)
            done.append(partition.id)
            total += len(hashes)
            passing += [
                f"{row.locator} {row.reason}"
                for row in partition.rows
                if isinstance(row, RejectedRow) and row.is_transient
            ]
            waiting += source_rows(revision, partition.rows, hashes)
            if len(waiting) >= HELD:
                writer.append("source_rows", waiting)
                waiting = []
        writer.append("source_rows", waiting)
        if passing:
            writer.rename(f"{item.id}-{digest(sorted(passing))[:8]}")
            writer.info["passing"] = len(passing)
        row = {"corpus": item.place.corpus, "revision": revision.revision, "source": connector.homepage, "rows": total}
        row |= {"version": revision.version, "sha256": revision.sha256, "licence": connector.licence}
        writer.append("corpora", [{**row, "description": connector.description, "ingest_id": writer.commit_id}])
        writer.uses = sorted(set(done))
    return [writer.commit_id, *done]


def rows_of(connector: Connector, item: Reading) -> Iterator[SourceRow | RejectedRow]:
    """The connector's rows, under the licence that the user states, with objects that a model segments in images."""
    for piece in item.pieces:
        for row in connector.rows(piece):
            if isinstance(row, RejectedRow):
                yield row
                continue
            folder = item.place.options.get("segment")
            looked_into = folder and row.modality == "image" and row.caption and isinstance(row.payload, bytes)
            if looked_into and (segments := segmented(bytes(row.payload), str(folder))):  # type: ignore[arg-type]
                row = replace(row, attributes={**row.attributes, "entities": segments})
            yield held(row, str(item.place.options.get("licence") or ""))


def held(row: SourceRow, stated: str) -> SourceRow:
    """The row under the licence that the recipe states, if its own is unknown.

    The corpus's licence is kept in an attribute. A licence that forbids derivatives is not replaced.
    """
    if not stated or row.licence in KNOWN or "-ND" in row.licence:
        return row
    return replace(row, licence=stated, attributes={**row.attributes, "published_licence": row.licence})
