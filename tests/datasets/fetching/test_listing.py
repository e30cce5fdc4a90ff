"""Lists of URLs in every format: each row is a link or a reject with its place, and none holds what belongs to another."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codi2_datasets.connectors import ConnectorError, Link
from codi2_datasets.fetching.listing import read_list
from codi2_storage.errors import UsageError

SOME = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CAPTIONS = [
    "a boat",
    '"Best pizza in town',
    "a dog",
    "null",
    'the 5" screen',
    'a tree 15"',
    "two\u2028lines",
    "{braces}",
]
URLS = [f"https://a.example/{n}.jpg?x=[{n}]&y=%20" for n in range(len(CAPTIONS))]


def read(path: Path) -> list[Any]:
    return [(row.url, row.caption) if isinstance(row, Link) else row.reason for row in read_list(str(path))]


def listed(kind: str) -> bytes:
    rows = list(zip(URLS, CAPTIONS, strict=True))
    if kind in ("csv", "tsv"):
        sep = "," if kind == "csv" else "\t"
        return "\n".join(sep.join(row) for row in [("url", "caption"), *rows]).encode()
    told = [{"url": url, "caption": caption} for url, caption in rows]
    return json.dumps(told).encode() if kind == "json" else "\n".join(map(json.dumps, told)).encode()


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "ndjson", "json"])
def test_every_row_keeps_its_own_caption(kind: str, tmp_path: Path) -> None:
    wanted = [(url, " ".join(caption.split())) for url, caption in zip(URLS, CAPTIONS, strict=True)]
    (tmp_path / f"list [1].{kind}").write_bytes(listed(kind))
    assert read(tmp_path / f"list [1].{kind}") == wanted
    (tmp_path / f"list.{kind.upper()}.gz").write_bytes(gzip.compress(listed(kind).replace(b"\n", b"\r\n")))
    assert read(tmp_path / f"list.{kind.upper()}.gz") == wanted


@SOME
@given(captions=st.lists(st.text(st.sampled_from("aA \"\u2028\u0085\u00e9,;'")), min_size=1, max_size=12))
def test_a_tsv_of_any_captions_has_as_many_rows_as_lines(captions: list[str], tmp_path: Path) -> None:
    lines = [f"https://a.example/{n}\t{caption}" for n, caption in enumerate(captions)]
    (tmp_path / "x.tsv").write_text("\n".join(["url\tcaption", *lines]), encoding="utf-8")
    assert [row[0] for row in read(tmp_path / "x.tsv")] == [f"https://a.example/{n}" for n in range(len(captions))]


def test_dirty_rows_are_rejects_with_their_places(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(
        b'{"url": "https://a/1"}\n{broken\n{"caption": "x"}\n"https://a/2"\n{"url": 7}\n{"url": "\xff"}\n'
    )
    found = list(read_list(str(tmp_path / "x.jsonl")))
    told = [row.row_id if isinstance(row, Link) else (row.locator, row.reason) for row in found]
    name = f"{tmp_path.name}/x.jsonl"
    assert told == [f"{name}#0", (f"{name}#1", "no JSON"), (f"{name}#2", "no address"), (f"{name}#3", "no JSON object"),
                    (f"{name}#4", "no address"), (f"{name}#5", "broken UTF-8")]  # fmt: skip
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbfhttps://a/1\r\n\r\nhttps://a/caf\xe9\nhttps://a/2 b\rhttps://a/3")
    assert read(tmp_path / "x.txt") == [("https://a/1", ""), "broken UTF-8", ("https://a/2 b", ""), ("https://a/3", "")]


def test_strings_of_parquet_are_strings_of_any_type(tmp_path: Path) -> None:
    for kind in (pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int8(), pa.string())):
        columns = {"url": pa.array(URLS), "caption": pa.array(["null", None, *CAPTIONS[2:]])}
        told = {
            name: column.dictionary_encode() if pa.types.is_dictionary(kind) else column.cast(kind)
            for name, column in columns.items()
        }
        pq.write_table(pa.table(told), tmp_path / "x.parquet", row_group_size=3)
        assert [row[1] for row in read(tmp_path / "x.parquet")][:3] == ["null", "", "a dog"]


def test_what_is_no_list_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("address,caption\n")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 cut")
    (tmp_path / "x.md").write_text("")
    for name, kind, message in (("x.csv", ConnectorError, "the column 'url'"), ("x.parquet", UsageError, "no Parquet file"),
                                ("x.md", UsageError, "a list is")):  # fmt: skip
        with pytest.raises(kind, match=message):
            read_list(str(tmp_path / name))
