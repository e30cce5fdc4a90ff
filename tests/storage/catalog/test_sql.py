"""Whatever a value holds, it stays a value within SQL."""

from __future__ import annotations

import duckdb
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codi2_storage.catalog.sql import case, identifier, literal, literals

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
