"""Whatever a value holds, it stays a value within SQL."""

from __future__ import annotations

import duckdb
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codi2_storage.catalog.sql import case, columns_of, identifier, literal, literals
from codi2_storage.tables import TABLES

HOSTILE = 'it\'s "mine"; %d -- \\ $1 ? {x} /* */ \0 é'
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CONNECTION = duckdb.connect()


@settings(deadline=None)
@given(TEXT, TEXT)
@example(HOSTILE, "")
def test_a_literal_is_its_value(value: str, other: str) -> None:
    chosen = case(literal(value), [(value, "1"), (f"{value}!", "2")], otherwise="3")
    query = f"select {literal(value)}, [{literals([value, other])}], {chosen}, {case('1', [], otherwise='4')}"
    assert CONNECTION.execute(query).fetchall() == [(value, [value, other], 1, 4)]


@settings(deadline=None)
@given(TEXT.filter(lambda name: name and "\0" not in name))
@example(HOSTILE.replace("\0", ""))
def test_an_identifier_is_its_name(name: str) -> None:
    assert CONNECTION.execute(f"select 1 as {identifier(name)}").description[0][0] == name


def test_the_columns_of_every_table_are_those_of_its_empty_arrow_table() -> None:
    for name, schema in TABLES.items():
        with duckdb.connect() as connection:
            connection.execute(f"create table written ({columns_of(schema)})")
            connection.register("arrow", schema.empty_table())
            written, read = (connection.execute(f"describe {table}").fetchall() for table in ("written", "arrow"))
        assert written == read, name
