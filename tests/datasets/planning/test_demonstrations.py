"""Demonstrations: the same relation, never the query or its family, never across splits, for any seed."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codi2_datasets.planning.demonstrations import Pairing, make_rings, pair


def table(pairs: int, families: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(
        f"""create table pool as
            select 'k' || i as key, 'r' || (i % 3) as relation, 'f' || (i % {families}) as family,
                   if(i % 5 = 0, 'test', 'train') as split, if(i % 5 = 0, 'concept', '') as holdout,
                   '' as kind, 'q' || i as slot_query, 't' || i as slot_target
            from range({pairs}) t(i)"""
    )
    connection.execute("create temp table chosen as select * from pool")
    return connection


def paired(connection: duckdb.DuckDBPyConnection, pairing: Pairing) -> None:
    make_rings(connection, "pool", pairing)
    pair(connection, "chosen", "pool", pairing)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60), st.integers(1, 12), st.integers(1, 3), st.integers(0, 3))
def test_no_seed_makes_it_leak(seed: int, pairs: int, families: int, low: int, more: int) -> None:
    connection = table(pairs, families)
    paired(connection, Pairing(seed, low, low + more))
    rows = connection.execute("select * from chosen").to_arrow_table().to_pylist()
    pool = {row["slot_query"]: row for row in connection.execute("select * from pool").to_arrow_table().to_pylist()}
    assert len(rows) == pairs
    for row in rows:
        shown = [pool[query] for query in (row["demo_slot_query"] or [])[: row["demos"]]]
        assert row["demos"] == 0 or low <= row["demos"] <= low + more
        assert [item["slot_target"] for item in shown] == (row["demo_slot_target"] or [])[: row["demos"]]
        assert all(
            (d["relation"], d["split"], d["holdout"]) == (row["relation"], row["split"], row["holdout"]) for d in shown
        )
        seen = [item["family"] for item in shown]
        assert row["family"] not in seen and len(set(seen)) == len(seen)


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    def drawn(seed: int) -> list:
        connection = table(200, 50)
        paired(connection, Pairing(seed, 1, 4))
        return connection.execute("select key, demo_slot_query, demos from chosen order by key").fetchall()

    assert drawn(1) == drawn(1) != drawn(2)


def test_bounds_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="min_demos 3 and max_demos 2"):
        Pairing(0, 3, 2)
