"""Queries shared by several files: rows of the catalog as plain data, and the works that a build shows."""

from __future__ import annotations

from typing import Any

import duckdb

# The assets that samples show, and those from which they were derived, over any number of steps.
SHOWN = """
    with recursive shown(asset_id) as (
        select distinct asset_id from parts where asset_id is not null
        union
        select unnest(a.inputs) from shown s join assets a using (asset_id) where a.op is not null)
    select asset_id from shown"""

# The same without derived assets: original works, with author and source.
WORKS = """
    with packages as (
        select corpus, revision, min(source) as source, min(version) as version, min(description) as description
        from corpora group by all)
    select a.asset_id, a.modality, a.caption, a.attributes, r.corpus, r.locator, r.licence, r.author, p.source,
           p.version, p.description
    from shown join assets a using (asset_id) join source_rows r using (source_row_id)
    left join packages p on p.corpus = r.corpus and p.revision = r.revision
    where a.op is null"""

# Each must be zero. The build is checked before it is published; these check the published tables.
CHECKS = {
    "parts whose asset is unknown": """
        select count(*) from parts where asset_id is not null and asset_id not in (select asset_id from assets)""",
    "works whose source is unknown": """
        select count(*) from assets where op is null and source_row_id not in (select source_row_id from source_rows)""",
    "train parts that show held-out media": """
        select count(*) from parts p join samples s using (sample_id) join assets a using (asset_id)
        where s.split = 'train' and a.split <> 'train'""",
    "validation or test targets that occur in train": """
        with seen as (select distinct p.asset_id from parts p join samples s using (sample_id)
                      where s.split = 'train' and p.modality <> 'text' and p.asset_id is not null)
        select count(*) from parts p join samples s using (sample_id)
        where s.split <> 'train' and (p.target or p.icl_role = 'demo_output' or s.holdout = 'concept')
        and p.asset_id in (select asset_id from seen)""",
    "demonstrations that show the query or the target": """
        select count(*) from parts d join parts q using (sample_id)
        where d.icl_role like 'demo%' and q.icl_role in ('query', 'target') and d.asset_id = q.asset_id""",
    "operator runs whose rows do not add up": """
        select count(*) from op_runs where rows_in <> rows_out + rejected + failed""",
}


def find_works(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables `shown` and `works` of the build that the connection shows, once for all who read them."""
    connection.execute(
        f"create temp table if not exists shown as {SHOWN}; create temp table if not exists works as {WORKS}"
    )


def rows(connection: duckdb.DuckDBPyConnection, query: str, *params: object) -> list[dict[str, Any]]:
    """The result of one query, as one dict per row."""
    return connection.execute(query, list(params)).to_arrow_table().to_pylist()


def one(connection: duckdb.DuckDBPyConnection, query: str, *params: object) -> Any:
    """The single value that the query returns; None if it returns no row."""
    row = connection.execute(query, list(params)).fetchone()
    return row[0] if row else None


def columns(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """The columns of a table as published, with their DuckDB types: older builds have fewer."""
    return {name: str(kind) for name, kind, *_ in connection.execute(f"select * from {table} limit 0").description}


def build_row(connection: duckdb.DuckDBPyConnection, build_id: str) -> dict[str, Any]:
    """The build's row in `builds`. Raises ValueError if the connection does not show that build."""
    matches = rows(connection, "select * from builds where build_id = ?", build_id)
    if not matches:
        raise ValueError(f"the catalog shows no build {build_id!r}")
    return matches[0]


def checked(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many rows break each rule; all zero in a valid build."""
    return {name: int(one(connection, query)) for name, query in CHECKS.items()}
