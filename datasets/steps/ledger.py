"""Ledger of a build: every input row is either kept, or in `rejected` with a reason."""

from __future__ import annotations

import json
import time

import duckdb

VERSION = "3"  # of select


def count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f"select count(*) from {table}").fetchone()
    return int(row[0]) if row else 0


def reject(
    connection: duckdb.DuckDBPyConnection, build_id: str, op: str, params: dict, reason: str, start: float,
    rows_in: int | None = None,
) -> None:  # fmt: skip
    """Move the assets of table `dropped` (asset_id; optionally score, threshold, error) to `rejected`.

    `rows_in`: how many assets were examined; all selected ones by default.
    """
    columns = {column[0] for column in connection.execute("select * from dropped limit 0").description}
    optional = "".join(f", {column}" for column in ("score", "threshold", "error") if column in columns)
    rows_in = count(connection, "selected") if rows_in is None else rows_in
    rejected = count(connection, "dropped")
    connection.execute(
        f"""insert into rejected by name
            select ? as build_id, asset_id as subject, 'select' as stage, ? as op, ? as reason{optional} from dropped""",
        [build_id, op, reason],
    )
    connection.execute("delete from selected where asset_id in (select asset_id from dropped); drop table dropped")
    ledger_line(connection, build_id, "select", op, params, rows_in, rejected, start)


def ledger_line(
    connection: duckdb.DuckDBPyConnection, build_id: str, stage: str, op: str, params: dict, rows_in: int, rejected: int,
    start: float, version: str = VERSION, failed: int = 0,
) -> None:  # fmt: skip
    """Add a line on one operation, which began at `start`."""
    left = rows_in - rejected - failed
    values = [build_id, stage, op, version, json.dumps(params, sort_keys=True), rows_in, left, rejected, failed]
    connection.execute(
        "insert into ledger values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [*values, time.perf_counter() - start]
    )
