"""What the catalog keeps is UTF-8 and JSON for every reader, whatever a corpus holds."""

from __future__ import annotations

import json
from typing import Any

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from codi2_datasets.corpora import RejectedRow, SourceRow
from codi2_datasets.formats.valid_values import is_plain, plain_json, plain_string
from codi2_datasets.steps.partitions import Media, partitions
from codi2_storage.store import Store

ANY_TEXT = st.text(st.characters() | st.sampled_from("\ud83d\udcff"), max_size=8)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT | st.integers(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100)
@given(value=ANYTHING)
def test_anything_becomes_json_and_what_is_json_stays(value: Any) -> None:
    found = plain_json(value)
    assert is_plain(found) and plain_json(found) == found
    if is_plain(value) and json.loads(json.dumps(value)) == value:
        assert found == value


def test_what_is_no_json_becomes_null_or_a_string() -> None:
    found = plain_json({"score": float("nan"), "width": float("inf"), "tag": "a\ud83d", 7: b"x"})
    assert found == {"score": None, "width": None, "tag": "a\\ud83d", "7": "b'x'"}
    assert (
        plain_string("caf\u00e9 \U0001f600") == "caf\u00e9 \U0001f600" and plain_string("\udce9.jpg") == "\\udce9.jpg"
    )
    deep: list[Any] = []
    for _ in range(2000):
        deep = [deep]
    assert not is_plain(deep) and is_plain(plain_json(deep))
    told = duckdb.execute("select ?::json ->> 'tag', ?::json ->> 'score'", [json.dumps(found)] * 2).fetchone()
    assert told == ("a\\ud83d", None)


def test_rows_are_made_plain_before_they_are_named(tmp_path: Any) -> None:
    row = SourceRow("x", "\udce9.jpg", "text", "words", "text/plain", "MIT", "half \ud83d", "", {"a": [float("nan")]})
    rows = [row, RejectedRow("x", "\udcff", "a \ud83d reason")]
    (partition, _), *_ = partitions(Store(tmp_path), "x", Media(8, 8, 1.0, 1, 1.0), rows)
    first, second = partition.rows
    assert isinstance(first, SourceRow) and isinstance(second, RejectedRow)
    assert (first.locator, first.author, first.attributes) == ("\\udce9.jpg", "half \\ud83d", {"a": [None]})
    assert (second.locator, second.reason) == ("\\udcff", "a \\ud83d reason")
