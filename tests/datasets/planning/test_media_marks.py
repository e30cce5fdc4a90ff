"""Texts with media in them are cut where the media stand."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codi2_datasets.planning.media_marks import place_media
from codi2_datasets.planning.planner import Columns
from codi2_datasets.planning.text_links import media_of_turns
from codi2_datasets.readers.words import MARK


def placed(texts: list[str], marks: list[str] | None, columns: tuple[str, ...] = ("marks",)) -> list[Any]:
    """The parts of a sample of these texts, as (position, text or asset)."""
    with duckdb.connect() as connection:
        connection.execute("create temp table chosen (key varchar, marks varchar[])")
        connection.execute("insert into chosen values ('k', ?), ('other', null)", [marks])
        connection.execute(
            "create temp table task_parts (key varchar, position bigint, text varchar, asset_id varchar)"
        )
        rows = [("k", n, text, "source") for n, text in enumerate(texts)] + [("other", 0, f"a{MARK}b", "source")]
        connection.executemany("insert into task_parts values (?, ?, ?, ?)", rows)
        place_media(connection, Columns.of(columns))
        other = connection.execute("select text from task_parts where key = 'other'").fetchall()
        assert other == [(f"a{MARK}b",)]  # a text of a candidate without marks stays as it is
        found = connection.execute(
            "select position, text, asset_id from task_parts where key = 'k' order by position"
        ).fetchall()
    assert all(asset == "source" for _, text, asset in found if text is not None)
    return [asset if text is None else text for _, text, asset in found]


def test_the_nth_mark_stands_for_the_nth_medium() -> None:
    assert placed([f"Look: {MARK}", f"{MARK} and {MARK}?", "Yes."], ["a", "b", "c"]) == [
        "Look: ",
        "a",
        "b",
        " and ",
        "c",
        "?",
        "Yes.",
    ]
    assert placed(["plain"], []) == ["plain"] and placed([f"{MARK}"], ["a"], columns=()) == [MARK]


@settings(max_examples=30)
@given(texts=st.lists(st.text(st.sampled_from("ab "), max_size=4), min_size=1, max_size=6), turn=st.integers(1, 3))
def test_nothing_of_a_text_is_lost(texts: list[str], turn: int) -> None:
    joined = MARK.join(texts)
    parts = placed([joined], [str(n) for n in range(len(texts) - 1)])
    assert "".join(MARK if part.isdigit() else part for part in parts) == joined


@pytest.mark.parametrize(("turns", "media"), [(1, ["a"]), (2, ["a"]), (3, ["a", "b", "c"]), (9, ["a", "b", "c"])])
def test_media_of_the_first_turns_are_counted_by_their_marks(turns: int, media: list[str]) -> None:
    said = [f"{MARK}?", "Yes.", f"{MARK}{MARK}!"]
    found = duckdb.execute(
        f"select {media_of_turns(turns)} from (select ? as turns, ['a', 'b', 'c'] as media)", [said]
    ).fetchone()
    assert found == (media,)
