"""In-memory cache of small catalog tables for repeated queries; each file is read once.

For callers that poll the catalog while runs start and end. For a single query, or for large tables, use
`Catalog.connect`.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from codi2_storage.catalog.catalog import Catalog
from codi2_storage.commits.commit import Manifest
from codi2_storage.store import Store
from codi2_storage.tables import TABLES, VIEWS, as_table

AT_ONCE = 16  # files read in parallel: they are small, and on an object store latency dominates


class TableCache:
    """The rows of some tables over all commits. Not thread-safe."""

    def __init__(self, tables: Collection[str]) -> None:
        self.tables = tuple(tables)
        self._rows: dict[Manifest, pa.Table] = {}

    def read(self, catalog: Catalog) -> duckdb.DuckDBPyConnection:
        """A connection with the current rows of the tables. Files that were read before are not read again."""
        wanted = {file for commit in catalog.commits for file in commit.files if file.table in self.tables}
        missing = sorted(wanted - self._rows.keys(), key=lambda file: (file.path, file.start))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            loaded = dict(zip(missing, pool.map(lambda file: rows_of(catalog.store, file), missing), strict=True))
        self._rows = {file: loaded[file] if file in loaded else self._rows[file] for file in wanted}
        connection = duckdb.connect(":memory:")
        for name in self.tables:
            held = [
                self._rows[file]
                for file in sorted(wanted, key=lambda file: (file.path, file.start))
                if file.table == name
            ]
            connection.register("held", pa.concat_tables([TABLES[name].empty_table(), *held]).combine_chunks())
            rows = "select * from held"
            connection.execute(f'create table "{name}" as {VIEWS[name].format(rows=rows) if name in VIEWS else rows}')
            connection.unregister("held")
        return connection


def rows_of(store: Store, file: Manifest) -> pa.Table:
    """The rows of one manifest, in the schema of its table."""
    with store.open_read(file.path) as source:
        content = pq.ParquetFile(source).read(use_threads=False)
    return as_table(file.table, content if file.whole else content.slice(file.start, file.rows))
