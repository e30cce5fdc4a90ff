"""What a task reads of the tables that `select` left, as a digest: a task whose digest is the same has the same plan.

The columns are those that DuckDB reads to run the planner's SQL, so a change of any other column changes no digest. To
them come the columns that planning itself looks up for every asset that a sample shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from codi2_datasets.planning.planner import Columns
from codi2_datasets.recipe_schema import Mixture
from codi2_storage.catalog.sql import identifier

ASSETS = ("pictures", "sounds", "clips", "texts")  # tables of assets, one a modality
NAMING = ("spoken", "links")  # tables that name assets of any modality
LOOKED_UP = ("asset_id", "modality", "near", "licence", "split", "holdout")
OF_DERIVED = ("source_row_id", "corpus", "caption")
# They hide columns: a filter inside a scan, a count that statistics answer.
HIDING = "filter_pushdown,statistics_propagation"


def inputs_digest(
    connection: duckdb.DuckDBPyConnection, query: str, bound: Mapping[str, Any], columns: Columns, mixture: Mixture
) -> list[list[Any]]:
    """For each table that the task reads: its name, the columns, the number of rows, and a digest of their values."""
    reads = columns_read(connection, query, bound)
    looked_up = {*LOOKED_UP, *(OF_DERIVED if columns.derived else ()), *(("corpus",) if mixture.corpora else ())}
    for table in ASSETS:
        if table in reads:
            reads[table] |= looked_up
    named = [table for table in NAMING if table in reads and digest_of(connection, table, set())[0]]
    if named or "selected" in reads:
        reads.setdefault("selected", set()).update(looked_up)
    return [[table, sorted(reads[table]), *digest_of(connection, table, reads[table])] for table in sorted(reads)]


def columns_read(connection: duckdb.DuckDBPyConnection, query: str, bound: Mapping[str, Any]) -> dict[str, set[str]]:
    """The columns that a query reads, by table; an empty set if only the number of rows matters."""
    connection.execute(f"set disabled_optimizers = '{HIDING}'")
    try:
        [(_, plan)] = connection.execute(f"explain (format json) {query}", dict(bound)).fetchall()
    finally:
        connection.execute("reset disabled_optimizers")
    reads: dict[str, set[str]] = {}
    for scan in scans(json.loads(plan)):
        projected = scan.get("Projections") or []
        table = scan["Table"].rpartition(".")[2].strip('"')
        reads.setdefault(table, set()).update([projected] if isinstance(projected, str) else projected)
    return reads


def scans(nodes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The scans of tables in a query plan of DuckDB."""
    for node in nodes:
        if "Table" in node["extra_info"]:
            yield node["extra_info"]
        yield from scans(node["children"])


def digest_of(connection: duckdb.DuckDBPyConnection, table: str, columns: set[str]) -> list[Any]:
    """The number of rows, and a digest of these columns that does not depend on the rows' order."""
    values = ", ".join(map(identifier, sorted(columns))) or "''"
    [counted] = connection.execute(
        f"""select count(*), sum(content)::varchar, bit_xor(content)::varchar
            from (select hash({values})::hugeint as content from {identifier(table)})"""
    ).fetchall()
    return list(counted)
