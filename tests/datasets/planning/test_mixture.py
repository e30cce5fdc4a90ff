"""Mixture: exact numbers, in proportion to weights, and no stratum above what it holds."""

from __future__ import annotations

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from codi2_datasets.planning.mixture import choose, make_chosen, shares
from codi2_datasets.recipe_schema import Mixture, TaskChoice

ROOM = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 500), min_size=1)


@given(ROOM, st.integers(0, 2000), st.floats(0.5, 8.0))
def test_shares_add_up_exactly_and_fit_the_room(room: dict[str, int], total: int, temperature: float) -> None:
    given_ = shares(total, room, {}, temperature)
    assert sum(given_.values()) == min(total, sum(room.values()))
    assert all(0 <= given_[name] <= size for name, size in room.items())


def test_a_high_temperature_evens_out_and_a_weight_of_zero_leaves_out() -> None:
    room = {"large": 100_000, "small": 1_000, "unwanted": 1_000}
    assert shares(1_010, room, {"unwanted": 0.0}, 1.0) == {"large": 1_000, "small": 10, "unwanted": 0}
    even = shares(1_000, room, {"unwanted": 0.0}, 1e9)
    assert even == {"large": 500, "small": 500, "unwanted": 0}


def candidates(size: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(
        f"""create table selected as select 'a' || i as asset_id, if(i % 2 = 0, 'drawn', 'photo') as corpus,
                   'MIT' as licence from range({size}) t(i);
            create temp table phrasings as select '' as kind, false as shows_demos, 1 as total;
            create temp table candidates as
            select asset_id as key, '' as kind, '' as balance, 'train' as split, '' as holdout, asset_id as slot_target
            from selected"""
    )
    return connection


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 200), st.integers(0, 300), st.integers(0, 2**31))
def test_as_many_are_chosen_as_are_asked_for(size: int, wanted: int, seed: int) -> None:
    connection = candidates(size)
    choose(connection, "task", seed, TaskChoice(wanted), Mixture(corpora={"photo": 3.0}))
    make_chosen(connection)
    assert connection.execute("select count(*) from chosen").fetchone() == (min(size, wanted),)


def test_corpora_come_in_proportion_to_their_weights() -> None:
    connection = candidates(1000)
    choose(connection, "task", 1, TaskChoice(200), Mixture(corpora={"photo": 3.0}))
    make_chosen(connection)
    found = connection.execute(
        "select corpus, count(*) from chosen join selected on asset_id = slot_target group by 1 order by 1"
    ).fetchall()
    assert found == [("drawn", 50), ("photo", 150)]
