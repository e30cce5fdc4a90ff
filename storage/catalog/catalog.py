"""Read-only SQL over the committed Parquet files, through DuckDB views. There is no database file to keep in step."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path

import duckdb
import pyarrow as pa

from codi2_storage.catalog.sql import columns_of, literal
from codi2_storage.commits.manifests import Commit, Manifest, commits
from codi2_storage.errors import UsageError
from codi2_storage.store import Store
from codi2_storage.tables import TABLES, VIEWS

LATEST = "latest"
BATCH = 10_000  # rows that a streamed query holds in memory

EXPLAIN = re.compile(r"^\s*(--[^\n]*\n\s*)*explain\s+(analyze\s+)?", re.IGNORECASE)


class CatalogError(UsageError):
    """A query or build id that the catalog cannot resolve. The message names the reason."""


class Catalog:
    """DuckDB views, one per table. By default they show the latest published build and all runs."""

    def __init__(self, root: Store | str) -> None:
        self.store = root if isinstance(root, Store) else Store(root)
        self.commits = commits(self.store)

    def builds(self) -> list[Commit]:
        """Published builds, oldest first."""
        builds = [commit for commit in self.commits if commit.kind == "build"]
        return sorted(builds, key=lambda commit: (commit.info.get("created_at", ""), commit.id))

    def latest_build(self) -> str | None:
        builds = self.builds()
        return builds[-1].id if builds else None

    def named(self, build: str | None) -> str | None:
        """Resolve a build name to its id: a full id, a unique prefix, or 'latest'. None means the latest build.

        Returns None if nothing is published yet. Raises CatalogError if the name matches no build, or several.
        """
        if build is None or (build == LATEST and self.builds()):
            return self.latest_build()
        known = [commit.id for commit in self.builds()]
        matches = [one for one in known if one == build] or [one for one in known if build and one.startswith(build)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise CatalogError(f"several builds under {self.store.root} begin with {build!r}: {', '.join(matches)}")
        raise CatalogError(
            f"no published build {build!r} under {self.store.root}; published: {', '.join(known) or 'none'}"
        )

    def connect(
        self,
        build: str | None = None,
        all_builds: bool = False,
        only: Collection[str] | None = None,
        tables: Collection[str] = tuple(TABLES),
    ) -> duckdb.DuckDBPyConnection:
        """Open a new in-memory connection with one view per table.

        `only`: ids of the commits to show; all others are hidden. `tables`: the tables that will be queried; fewer
        tables open fewer files.
        """
        connection = duckdb.connect(":memory:")
        spill = Path(tempfile.gettempdir()) / f"codi2-duckdb-{os.getpid()}"  # DuckDB's default is the working directory
        connection.execute(f"set temp_directory = {literal(spill.as_posix())}")
        if not self.store.is_local:
            connection.register_filesystem(self.store.fs)
        files: dict[str, list[Manifest]] = {}
        if only is None:
            visible = self._visible(build, all_builds)
        else:
            named = set(only)
            visible = [commit for commit in self.commits if commit.id in named]
        for commit in visible:
            for file in commit.files:
                files.setdefault(file.table, []).append(file)
        connection.execute("create schema columns")
        for table, schema in TABLES.items():
            if table not in tables:
                continue
            connection.execute(
                f'create table columns."{table}" ({columns_of(schema)})'
            )  # older files lack some columns
            sources = [f'select * from columns."{table}"', *rows_of(files.get(table, []), self._duckdb_path)]
            rows = " union all by name ".join(sources)
            shown = VIEWS[table].format(rows=rows) if table in VIEWS else rows
            connection.execute(f'create view "{table}" as {shown}')
        progress = connection.execute("select current_setting('enable_progress_bar')").fetchone()
        if progress is not None and progress[0]:  # in Jupyter without widgets it is off, and setting it is an error
            connection.execute("set enable_progress_bar = false")
        return connection

    def sql(
        self, query: str, params: Sequence[object] | None = None, build: str | None = None, all_builds: bool = False
    ) -> pa.Table:
        """Run one query. Raises CatalogError if it is not a query or does not fit the tables."""
        with self.stream(query, params, build, all_builds) as reader, explained():
            return reader.read_all()

    @contextmanager
    def stream(
        self, query: str, params: Sequence[object] | None = None, build: str | None = None, all_builds: bool = False
    ) -> Iterator[pa.RecordBatchReader]:
        """Run one query and read its rows in batches. Raises CatalogError as `sql` does."""
        if not re.match(
            r"\s*(--[^\n]*\n\s*)*(select|with|describe|show|summarize|explain|from|values|pivot)\b", query, re.I
        ):
            raise CatalogError("only queries are served: start with select, with, from, describe, show or summarize")
        with self.connect(build, all_builds, tables=named_in(query)) as connection:
            with explained():
                statements = connection.extract_statements(query)
                if len(statements) != 1:
                    raise CatalogError("one query at a time, please")
                if statements[0].type == duckdb.StatementType.EXPLAIN:  # which with `analyze` runs what it explains
                    inner = connection.extract_statements(EXPLAIN.sub("", query))
                    if [one.type for one in inner] != [duckdb.StatementType.SELECT]:
                        raise CatalogError("only queries are explained: start with explain select")
                reader = connection.execute(query, params or []).to_arrow_reader(BATCH)
            yield reader

    def _duckdb_path(self, path: str) -> str:
        """The file's path or URL with glob characters escaped, because DuckDB reads every file name as a glob pattern."""
        pattern = escape(self.store.path(path))
        if self.store.is_local:
            return pattern
        protocol = self.store.fs.protocol
        name = protocol if isinstance(protocol, str) else protocol[0]
        return f"{name}://{pattern.lstrip('/')}"

    def _visible(self, build: str | None, all_builds: bool) -> list[Commit]:
        if all_builds:
            return self.commits
        chosen = self.named(build)
        by_id = {commit.id: commit for commit in self.commits}
        names = {chosen, *by_id[chosen].uses} if chosen else set()
        return [commit for commit in self.commits if commit.id in names or commit.kind not in ("build", "ingest")]


def named_in(query: str) -> list[str]:
    """The tables whose names a query holds, or all tables if it holds none: `show tables`, or a misspelled name.

    A view for each of the others would take several times as long as most queries.
    """
    words = {word.lower() for word in re.findall(r"\w+", query)}
    return [table for table in TABLES if table in words] or list(TABLES)


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors of DuckDB into one-line CatalogErrors: DuckDB's hint is kept, the query text is cut."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException) as error:
        lines = [line.strip() for line in re.split(r"\nLINE \d+:", str(error))[0].splitlines()]
        raise CatalogError(" ".join(line for line in lines if line)) from error


def rows_of(manifests: Iterable[Manifest], path: Callable[[str], str]) -> list[str]:
    """Queries that return the manifests' rows: one query for all files that are read whole, and one per other file."""
    shares: dict[str, dict[int, Manifest]] = {}
    for file in manifests:
        shares.setdefault(file.path, {})[file.start] = file
    whole, queries = [], []
    for name, stretches in sorted(shares.items()):
        ranges = joined((file.start, file.start + file.rows) for file in stretches.values())
        file_name = literal(path(name))
        if any(file.of is None or ranges == [(0, file.of)] for file in stretches.values()):
            whole.append(file_name)
            continue
        inside = ", ".join(f"({start}, {stop})" for start, stop in ranges)
        queries.append(
            f"""select * exclude (file_row_number) from read_parquet({file_name}, file_row_number = true) semi join
                (values {inside}) as wanted (start, stop) on file_row_number >= start and file_row_number < stop"""
        )
    if whole:
        listed = ", ".join(whole)
        queries.append(f"select * from read_parquet([{listed}], union_by_name = true, hive_partitioning = false)")
    return queries


def joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sort ranges (start, stop) and merge those that touch or overlap."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged
