"""Contents of a build: its tasks, the corpora that each task uses, and the licences of the works in it.

Counted over the samples that a model is trained on. A derived asset counts as the works it was made from.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from codi2_storage.catalog.catalog import Catalog

TABLES = ("builds", "samples", "parts", "assets", "source_rows", "corpora", "shards")
# `works` maps each asset to the works that it was made from; `shown` has one row per sample and work in it
PREPARE = """
create temp table works as
    with recursive origin(made, asset_id) as (
        select asset_id, asset_id from assets
        union select made, unnest(inputs) from origin join assets using (asset_id) where op is not null)
    select made, asset_id, source_row_id, corpus from origin join assets using (asset_id) where op is null;
create temp table shown as
    select distinct sample_id, task, split, works.corpus, works.source_row_id
    from samples join parts using (sample_id) join works on works.made = parts.asset_id;
"""
TRAINED = "split = 'train' and (? or list_contains(?, task))"


@dataclass(frozen=True)
class TaskUse:
    """Samples of one task by split, bytes of its shards, and whether training drew from it."""

    task: str
    train: int
    validation: int
    test: int
    shards: int
    bytes: int
    trained: bool


@dataclass(frozen=True)
class CorpusUse:
    """One corpus at one revision. `works`: how many of its rows training samples show; `samples`: in how many samples."""

    corpus: str
    revision: str
    source: str
    version: str
    licence: str
    description: str
    rows: int
    works: int
    samples: int


@dataclass(frozen=True)
class Share:
    """Number of training samples of a task that show works of a corpus."""

    task: str
    corpus: str
    samples: int


@dataclass(frozen=True)
class LicenceUse:
    """Number of works under a licence that training samples show, and of training samples under that licence."""

    licence: str
    works: int
    samples: int


@dataclass(frozen=True)
class Read:
    """A build as a training run read it. `trained`: the tasks it drew from; None means all."""

    build_id: str
    trained: tuple[str, ...] | None = None


@dataclass(frozen=True)
class BuildContents:
    """The contents of a published build, as a model trained on the `trained` tasks saw it."""

    build: dict[str, Any]
    tasks: list[TaskUse]
    corpora: list[CorpusUse]
    shares: list[Share]
    licences: list[LicenceUse]


class BuildContentsCache:
    """The contents of builds, cached: a published build never changes, so each one is counted once."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._origins: dict[Read, BuildContents | None] = {}
        self._licences: dict[tuple[Read, ...], list[LicenceUse]] = {}

    def of(self, read: Read) -> BuildContents | None:
        """The contents of the build; None if it is not in the catalog."""
        if read.build_id not in {commit.id for commit in self.catalog.builds()}:
            return None
        if self._origins.get(read) is None:
            self._origins[read] = origin_of(self.catalog, read.build_id, read.trained)
        return self._origins[read]

    def licences(self, reads: Sequence[Read]) -> list[LicenceUse]:
        """The licences over all the builds read. A work or sample that several builds share counts once."""
        there = tuple(dict.fromkeys(read for read in reads if self.of(read)))
        if len(there) == 1 and (only := self.of(there[0])):
            return only.licences
        if there not in self._licences:
            self._licences[there] = licences_of(self.catalog, there)
        return self._licences[there]


def origin_of(catalog: Catalog, build_id: str, trained: Collection[str] | None = None) -> BuildContents | None:
    """The contents of a build; None if it is not in the catalog. `trained`: the tasks a run drew from, all if None."""
    if build_id not in {commit.id for commit in catalog.builds()}:
        return None
    asked = [trained is None, sorted(trained or [])]
    with catalog.connect(build_id, tables=TABLES) as connection:
        connection.execute(PREPARE)
        return BuildContents(
            build=build_row(connection, build_id),
            tasks=[TaskUse(**row) for row in rows(connection, TASKS, asked)],
            corpora=[CorpusUse(**row) for row in rows(connection, CORPORA, asked)],
            shares=[Share(**row) for row in rows(connection, SHARES, asked)],
            licences=counted(licensed(connection, asked)),
        )


def licences_of(catalog: Catalog, reads: Sequence[Read]) -> list[LicenceUse]:
    """The licences over several builds together."""
    held = []
    for read in reads:
        with catalog.connect(read.build_id, tables=TABLES) as connection:
            connection.execute(PREPARE)
            held.append(licensed(connection, [read.trained is None, sorted(read.trained or ())]))
    return counted(*held)


def licensed(connection: duckdb.DuckDBPyConnection, asked: list[object]) -> pa.Table:
    """A row for each work and each sample that training saw: kind, id, licence."""
    return connection.execute(LICENSED, [*asked, *asked]).to_arrow_table()


def counted(*held: pa.Table) -> list[LicenceUse]:
    """The number of works and samples under each licence; duplicates between tables count once."""
    if not held:
        return []
    with duckdb.connect(":memory:") as connection:
        connection.register("held", pa.concat_tables(held))
        return [LicenceUse(**row) for row in rows(connection, COUNTED, [])]


TASKS = """
    with sizes as (select task, count(*) as shards, sum(bytes)::bigint as bytes from shards group by task)
    select task, count(*) filter (where split = 'train') as train,
           count(*) filter (where split = 'validation') as validation, count(*) filter (where split = 'test') as test,
           coalesce(any_value(sizes.shards), 0) as shards, coalesce(any_value(sizes.bytes), 0) as bytes,
           coalesce(? or list_contains(?, task), false) as trained
    from samples left join sizes using (task) group by task order by task"""
CORPORA = f"""
    with used as (select corpus, count(distinct source_row_id) as works, count(distinct sample_id) as samples
                  from shown where {TRAINED} group by corpus),
         known as (select corpus, string_agg(distinct revision, ', ' order by revision) as revision,
                          any_value(source) as source, any_value(version) as version, any_value(licence) as licence,
                          any_value(description) as description, sum(rows)::bigint as rows
                   from corpora group by corpus)
    select coalesce(corpus, '') as corpus, coalesce(revision, '') as revision, coalesce(source, '') as source,
           coalesce(version, '') as version, coalesce(licence, '') as licence, coalesce(description, '') as description,
           coalesce(rows, 0) as rows, coalesce(works, 0) as works, coalesce(samples, 0) as samples
    from known full join used using (corpus) order by corpus"""
SHARES = f"""
    select task, corpus, count(distinct sample_id) as samples from shown where {TRAINED} and corpus is not null
    group by all order by task, corpus"""
LICENSED = f"""
    select 'work' as kind, source_row_id as id, coalesce(any_value(source_rows.licence), '') as licence
    from (select distinct source_row_id from shown where {TRAINED}) left join source_rows using (source_row_id) group by id
    union all
    select 'sample', sample_id, coalesce(licence, '') from samples where {TRAINED}"""
COUNTED = """
    select licence, count(distinct id) filter (where kind = 'work') as works,
           count(distinct id) filter (where kind = 'sample') as samples
    from held group by licence order by works desc, samples desc, licence"""


def build_row(connection: duckdb.DuckDBPyConnection, build_id: str) -> dict[str, Any]:
    """The row of the build in `builds` without its recipe; the id alone if the commit has no such row."""
    matches = rows(connection, "select * exclude (spec) from builds where build_id = ?", [build_id])
    return matches[0] if matches else {"build_id": build_id}


def rows(connection: duckdb.DuckDBPyConnection, query: str, params: list[object]) -> list[dict[str, Any]]:
    return connection.execute(query, params).to_arrow_table().to_pylist()
